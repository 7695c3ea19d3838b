//! Progress for pipes, files and batch systems: plain lines, every few seconds.
//!
//! burn-train's own renderer for them prints one line a step and no metric at all.

use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

use crate::meter::{Meter, Reading};

/// Seconds between two lines.
const INTERVAL: Duration = Duration::from_secs(3);

/// A renderer that writes lines of text.
pub struct Console {
    out: Mutex<Box<dyn Write + Send>>,
    meter: Meter,
    started: Instant,
    last_line: Option<Instant>,
    /// The meter as of the last line: a line speaks of what happened since.
    before: Reading,
    loss: Window,
    top1: Window,
    validating: bool,
    split_items: usize,
}

/// One of burn-train's metrics, averaged since the last line.
#[derive(Default)]
struct Window {
    id: Option<MetricId>,
    sum: f64,
    count: usize,
}

impl Window {
    fn add(&mut self, id: &MetricId, value: f64) {
        if self.id.as_ref() == Some(id) {
            self.sum += value;
            self.count += 1;
        }
    }

    fn take(&mut self) -> f64 {
        let mean = self.sum / self.count.max(1) as f64;
        (self.sum, self.count) = (0.0, 0);
        mean
    }
}

impl Console {
    /// A console that writes to `out` what burn-train's metrics and `meter` say.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, meter: Meter) -> Self {
        Self {
            out: Mutex::new(out),
            before: meter.read(),
            meter,
            started: Instant::now(),
            last_line: None,
            loss: Window::default(),
            top1: Window::default(),
            validating: false,
            split_items: 0,
        }
    }

    fn is_time(&self) -> bool {
        self.last_line.is_none_or(|last| last.elapsed() >= INTERVAL)
    }

    fn line(&mut self, text: &str) {
        self.last_line = Some(Instant::now());
        if let Ok(out) = self.out.get_mut() {
            // A reader that went away (`| head`) is no reason to stop training.
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }

    fn training_line(&mut self) {
        let now = self.meter.read();
        let line = training_line(
            &self.before,
            &now,
            self.loss.take(),
            self.top1.take(),
            self.started.elapsed(),
        );
        self.before = now;
        self.line(&line);
    }
}

fn training_line(
    before: &Reading,
    now: &Reading,
    loss: f64,
    top1: f64,
    elapsed: Duration,
) -> String {
    let seconds = now.train_seconds - before.train_seconds;
    let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
    let left = now.total_steps.saturating_sub(now.step);
    let eta = elapsed.as_secs_f64() / now.steps_here.max(1) as f64 * left as f64;
    format!(
        "epoch {}/{}  step {}/{}  loss {loss:.3}  top-1 {top1:.1} %  lr {:.5}  {:.1} images/s  \
         data wait {:.0} %  ETA {}",
        now.epoch,
        now.total_epochs,
        now.step,
        now.total_steps,
        now.lr,
        per_second((now.images - before.images) as f64),
        100.0 * per_second(now.wait_seconds - before.wait_seconds),
        duration(eta),
    )
}

/// A duration in its two largest units.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

impl MetricsRendererTraining for Console {
    fn update_train(&mut self, state: MetricState) {
        if let MetricState::Numeric(entry, Some(value)) = state
            && !matches!(value, burn::train::metric::NumericEntry::Final(_))
        {
            self.loss.add(&entry.metric_id, value.current());
            self.top1.add(&entry.metric_id, value.current());
        }
    }

    fn update_valid(&mut self, _state: MetricState) {}
}

impl TrainingProgressLogger for Console {
    fn start(
        &mut self,
        _epochs: usize,
        _first: usize,
        _items: Option<usize>,
        _label: Option<&str>,
    ) {
        self.started = Instant::now();
    }

    fn start_split(&mut self, split: &str, total_items: usize) {
        self.validating = split != "train";
        self.split_items = total_items;
    }

    fn update_split(&mut self, items_processed: usize) {
        if !self.is_time() {
            return;
        }
        if self.validating {
            let line = format!("validating  {items_processed}/{} images", self.split_items);
            self.line(&line);
        } else {
            self.training_line();
        }
    }

    fn end_split(&mut self) {
        if !self.validating && self.meter.read().step > self.before.step {
            self.training_line();
        }
    }

    fn update_epoch(&mut self, _epoch: usize) {
        let now = self.meter.read();
        if let Some(result) = now.validation {
            let line = format!(
                "epoch {}/{}  validation: top-1 {:.2} %  top-5 {:.2} %  loss {:.3}  \
                 ({} images in {})",
                result.epoch,
                now.total_epochs,
                100.0 * result.top1,
                100.0 * result.top5,
                result.loss,
                result.images,
                duration(result.seconds),
            );
            self.line(&line);
        }
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl MetricsRenderer for Console {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        match definition.name.as_str() {
            "Loss" => self.loss.id = Some(definition.metric_id),
            "Accuracy" => self.top1.id = Some(definition.metric_id),
            _ => {}
        }
    }
}

// Training never evaluates on a test split; burn-train asks every renderer for these all the same.
impl MetricsRendererEvaluation for Console {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl EvaluationProgressLogger for Console {
    fn start_global_progress(&mut self, _total_tests: usize) {}
    fn start_test(&mut self, _name: &str, _total_items: usize) {}
    fn update_test_progress(&mut self, _items_processed: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _event: String) {}
}

/// Standard output, or standard error where a machine reads the former.
#[must_use]
pub fn stream(to_stderr: bool) -> Box<dyn Write + Send> {
    if to_stderr {
        Box::new(io::stderr())
    } else {
        Box::new(io::stdout())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened_since_the_last_one() {
        let before = Reading {
            step: 10,
            images: 100,
            train_seconds: 5.0,
            wait_seconds: 1.0,
            ..Reading::default()
        };
        let now = Reading {
            step: 20,
            total_steps: 120,
            steps_here: 10,
            epoch: 2,
            total_epochs: 8,
            lr: 0.05,
            images: 300,
            train_seconds: 15.0,
            wait_seconds: 1.5,
            validation: None,
        };
        let line = training_line(&before, &now, 1.25, 50.0, Duration::from_secs(20));
        assert_eq!(
            line,
            "epoch 2/8  step 20/120  loss 1.250  top-1 50.0 %  lr 0.05000  20.0 images/s  \
             data wait 5 %  ETA 3 min 20 s"
        );
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [
            (0.2, "0 s"),
            (59.0, "59 s"),
            (200.0, "3 min 20 s"),
            (7260.0, "2 h 1 min"),
            (100_000.0, "1 d 3 h"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
