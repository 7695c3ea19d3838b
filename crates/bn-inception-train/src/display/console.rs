//! Progress for pipes, files and batch systems: plain lines, every few seconds.
//!
//! burn-train's own renderer for them prints one line per step and no metrics.

use std::io::Write;
use std::time::{Duration, Instant};

use bn_inception_dashboard::run_log::Validation;
use bn_inception_dashboard::run_log::{Event, StepFacts};

use super::screen::{RunExtent, Screen};
use crate::step::Scores;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(3);

/// Writes lines of text.
pub(super) struct Console<W> {
    out: W,
    extent: RunExtent,
    started: Instant,
    last_line: Option<Instant>,
    /// Steps since the process started.
    steps: u64,
    /// Steps since the last line, for the next one to summarise.
    window: Window,
    /// Images done in the current validation.
    validated: usize,
}

/// Sums over some steps.
#[derive(Default)]
struct Window {
    steps: u64,
    loss: f64,
    top1: f64,
    images: usize,
    seconds: f64,
    wait_seconds: f64,
    last: Option<StepFacts>,
}

impl Window {
    fn add(&mut self, facts: &StepFacts) {
        self.steps += 1;
        self.loss += facts.loss;
        self.top1 += facts.top1;
        self.images += facts.images;
        self.seconds += facts.seconds;
        self.wait_seconds += facts.wait_seconds;
        self.last = Some(*facts);
    }
}

impl<W: Write> Console<W> {
    pub(super) fn new(out: W, extent: RunExtent) -> Self {
        Self {
            out,
            extent,
            started: Instant::now(),
            last_line: None,
            steps: 0,
            window: Window::default(),
            validated: 0,
        }
    }

    fn is_time(&self) -> bool {
        self.last_line.is_none_or(|last| last.elapsed() >= INTERVAL)
    }

    fn line(&mut self, text: &str) {
        self.last_line = Some(Instant::now());
        // A closed pipe (`| head`) is no reason to stop training.
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// Prints a line about the steps since the last one, if there are any.
    fn training_line(&mut self) {
        let window = std::mem::take(&mut self.window);
        if let Some(last) = window.last {
            let elapsed = self.started.elapsed();
            let line = training_line(&self.extent, &window, &last, self.steps, elapsed);
            self.line(&line);
        }
    }
}

/// Line about `steps` steps that took `elapsed`, of which `last` was the last.
fn training_line(extent: &RunExtent, window: &Window, last: &StepFacts, steps: u64, elapsed: Duration) -> String {
    let count = window.steps.max(1) as f64;
    let per_second = |amount: f64| {
        if window.seconds > 0.0 { amount / window.seconds } else { 0.0 }
    };
    let left = extent.total_steps.saturating_sub(last.step);
    let eta = elapsed.as_secs_f64() / steps.max(1) as f64 * left as f64;
    format!(
        "epoch {}/{}  step {}/{}  loss {:.3}  top-1 {:.1} %  lr {:.5}  {:.1} images/s  \
         data wait {:.0} %  ETA {}",
        last.epoch,
        extent.total_epochs,
        last.step,
        extent.total_steps,
        window.loss / count,
        100.0 * window.top1 / count,
        last.lr,
        per_second(window.images as f64),
        100.0 * per_second(window.wait_seconds),
        duration(eta),
    )
}

fn validation_line(extent: &RunExtent, result: &Validation) -> String {
    format!(
        "epoch {}/{}  validation: top-1 {:.2} %  top-5 {:.2} %  loss {:.3}  ({} images in {})",
        result.epoch,
        extent.total_epochs,
        100.0 * result.top1,
        100.0 * result.top5,
        result.loss,
        result.images,
        duration(result.seconds),
    )
}

/// A duration in its two largest units.
fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

impl<W: Write> Screen for Console<W> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step(facts) => {
                self.steps += 1;
                self.window.add(facts);
                if self.is_time() {
                    self.training_line();
                }
            }
            Event::Validation(report) => {
                self.validated = 0;
                let line = validation_line(&self.extent, &report.result);
                self.line(&line);
            }
            Event::Interrupted { .. } => self.training_line(),
            _ => {}
        }
    }

    fn validation_batch(&mut self, scores: &Scores) {
        self.training_line();
        self.validated += scores.images();
        if self.is_time() {
            let total = self.extent.val_images;
            self.line(&format!("validating  {}/{total} images", self.validated));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened_since_the_last_one() {
        let extent = RunExtent { total_steps: 120, total_epochs: 8, ..RunExtent::default() };
        let mut window = Window::default();
        let mut facts = StepFacts {
            step: 10,
            epoch: 2,
            loss: 1.25,
            top1: 0.5,
            top5: None,
            lr: 0.05,
            grad_norm: None,
            images: 20,
            seconds: 1.0,
            wait_seconds: 0.05,
        };
        for _ in 0..10 {
            facts.step += 1;
            window.add(&facts);
        }
        let line = training_line(&extent, &window, &facts, 10, Duration::from_secs(20));
        assert_eq!(
            line,
            "epoch 2/8  step 20/120  loss 1.250  top-1 50.0 %  lr 0.05000  20.0 images/s  \
             data wait 5 %  ETA 3 min 20 s"
        );
    }

    #[test]
    fn durations_have_two_units() {
        let cases =
            [(0.2, "0 s"), (59.0, "59 s"), (200.0, "3 min 20 s"), (7260.0, "2 h 1 min"), (100_000.0, "1 d 3 h")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
