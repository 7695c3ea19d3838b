//! The program `gallery`: writes logs of made-up training runs, to look at the dashboard with many of them.
//!
//! ```text
//! cargo run --release -p bn-inception-dashboard --example gallery -- runs --runs 100 --steps 100000
//! cargo run --release -p bn-inception-dashboard --example dashboard -- runs
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bn_inception_dashboard::TensorBoard;
use bn_inception_dashboard::run_log::{
    ActivationPercentiles, BlockTelemetry, ClassCount, Confusion, Event, Histogram, LOG_FILE, RankFacts, RankReport,
    Record, SCHEMA, Sink, Start, StepFacts, SystemSample, Telemetry, Validation, ValidationReport,
};
use clap::Parser;
use serde_json::{Map, Value, json};

/// Recipes with their speed of learning and the loss they end at.
const RECIPES: [(&str, f64, f64); 5] = [
    ("bn-baseline", 1.0, 1.1),
    ("bn-x30", 4.0, 0.9),
    ("bn-x5", 2.5, 0.95),
    ("bn-x5-sigmoid", 1.5, 1.4),
    ("inception", 0.4, 1.2),
];
const WIDTHS: [f64; 3] = [0.25, 0.5, 1.0];
const BATCHES: [usize; 2] = [32, 128];
const LABELS: [&str; 10] = [
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
];
const BLOCKS: [&str; 6] = ["stem", "3a", "3c", "4c", "5b", "classifier"];
const VALIDATIONS: u64 = 40;
const MEASUREMENTS: u64 = 60;
const SECONDS_PER_STEP: f64 = 0.2;

/// Write logs of made-up training runs.
#[derive(Parser)]
struct Arguments {
    /// Folder of the runs, which are called 1, 2, 3 …
    folder: PathBuf,

    /// Number of runs
    #[arg(long, default_value_t = 6)]
    runs: u64,

    /// Steps of each
    #[arg(long, default_value_t = 2000)]
    steps: u64,

    /// Write TensorBoard's event files beside the logs
    #[arg(long)]
    tensorboard: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    for number in 1..=arguments.runs {
        let folder = arguments.folder.join(number.to_string());
        write_run(&folder, number, &arguments)?;
    }
    println!("{} runs of {} steps in {}", arguments.runs, arguments.steps, arguments.folder.display());
    Ok(())
}

/// A reproducible number from 0 to 1 for each pair.
fn noise(run: u64, step: u64) -> f64 {
    // The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    let mut bits = run.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xd1b5_4a32_d192_ed03);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The settings of a made-up run.
struct Run {
    number: u64,
    recipe: usize,
    width: f64,
    batch: usize,
    seed: u64,
}

impl Run {
    fn numbered(number: u64) -> Self {
        let index = (number - 1) as usize;
        let recipe = index % RECIPES.len();
        let width = WIDTHS[index / RECIPES.len() % WIDTHS.len()];
        let batch = BATCHES[index / (RECIPES.len() * WIDTHS.len()) % BATCHES.len()];
        let seed = (index / (RECIPES.len() * WIDTHS.len() * BATCHES.len())) as u64 + 1;
        Self { number, recipe, width, batch, seed }
    }

    /// Loss without its noise after `share` of the steps.
    fn loss(&self, share: f64) -> f64 {
        let (_, speed, end) = RECIPES[self.recipe];
        let end = end + 0.25 * (1.0 - self.width) + 0.1 * noise(self.seed, self.number);
        end + (2.3 - end) * (-6.0 * share * speed).exp()
    }

    fn start(&self, steps: u64) -> Start {
        let settings = json!({
            "recipe": RECIPES[self.recipe].0, "width": self.width, "batch-size": self.batch, "seed": self.seed,
            "image-size": 128, "data": "imagenette", "out": format!("runs/{}", self.number),
        });
        let recipe = json!({ "learning rate": 0.045 * RECIPES[self.recipe].1, "momentum": 0.9 });
        let map = |value: Value| value.as_object().cloned().unwrap_or_else(Map::new);
        Start {
            settings: map(settings),
            recipe: map(recipe),
            seed: self.seed,
            program: "gallery 0.1.0".to_owned(),
            device: "flex".to_owned(),
            total_steps: steps,
            total_epochs: 20,
            train_images: 9469,
            val_images: 500,
            labels: LABELS.map(str::to_owned).to_vec(),
            parameters: (10_300_000.0 * self.width * self.width) as usize,
            telemetry_every: (steps / MEASUREMENTS).max(1),
            ..Start::default()
        }
    }

    fn step(&self, step: u64, steps: u64) -> StepFacts {
        let share = step as f64 / steps as f64;
        let shake = noise(self.number, step) - 0.5;
        // One outlier, as a spike of the gradient makes it.
        let spike = if step == steps / 3 { 40.0 } else { 0.0 };
        let loss = self.loss(share) + 0.5 * shake + spike;
        StepFacts {
            step,
            epoch: ((20.0 * share) as usize + 1).min(20),
            loss,
            top1: (1.0 - loss / 2.6 + 0.1 * shake).clamp(0.0, 1.0),
            top5: Some((1.1 - loss / 6.0).clamp(0.0, 1.0)),
            lr: 0.045 * RECIPES[self.recipe].1 * (1.0 - share).max(1e-4),
            grad_norm: Some(2.0 + shake + 4.0 * (-10.0 * share).exp()),
            images: self.batch,
            seconds: SECONDS_PER_STEP * (1.0 + 0.2 * shake),
            wait_seconds: 0.01 + 0.02 * noise(step, self.number),
        }
    }

    fn validation(&self, step: u64, steps: u64) -> ValidationReport {
        let share = step as f64 / steps as f64;
        let loss = self.loss(share) + 0.05 * noise(self.number, step);
        let top1 = (1.0 - loss / 2.8).max(0.1);
        let right = |class: usize| (50.0 * top1 * (0.8 + 0.4 * noise(class as u64, self.number))).min(50.0) as u64;
        let classes = (0..LABELS.len()).map(|class| ClassCount { correct: right(class), total: 50 });
        let matrix = (0..LABELS.len()).map(|truth| {
            let missed = 50 - right(truth);
            let row = (0..LABELS.len()).map(|guess| match guess {
                guess if guess == truth => right(truth),
                guess if guess == (truth + 3) % LABELS.len() => missed / 2,
                guess if guess == (truth + 7) % LABELS.len() => missed - missed / 2,
                _ => 0,
            });
            row.collect()
        });
        let result = Validation {
            step,
            epoch: (20.0 * share) as usize + 1,
            top1,
            top5: (1.2 - loss / 6.0).clamp(0.0, 1.0),
            loss,
            images: 500,
            seconds: 3.0,
        };
        let confusion = Some(Confusion::Matrix(matrix.collect()));
        ValidationReport { classes: classes.collect(), confusion, ..ValidationReport::from(result) }
    }

    fn telemetry(&self, step: u64, steps: u64) -> Telemetry {
        let share = step as f64 / steps as f64;
        let histogram = |spread: f32| Histogram {
            min: -spread,
            max: spread,
            sum: 0.0,
            sum_squares: 1.0,
            counts: (0..30).map(|bin| (1000.0 * (-((bin as f32 - 14.5) / 6.0).powi(2)).exp()) as u64).collect(),
        };
        let blocks = BLOCKS.iter().enumerate().map(|(index, block)| BlockTelemetry {
            block: (*block).to_owned(),
            grad_norm: (0.3 + noise(step, index as u64)) * (1.0 + index as f64) / 3.0,
            update_ratio: 1e-3 * (0.5 + noise(index as u64, step)) * (1.0 - share).max(0.01),
            weights: histogram(0.1 + 0.3 * share as f32 + 0.05 * index as f32),
            gamma: (index + 1 < BLOCKS.len()).then(|| histogram(1.0)),
            beta: Some(histogram(0.5 + share as f32)),
        });
        let activations = ["3a.conv_1x1", "5b.conv_1x1"].map(|layer| ActivationPercentiles {
            layer: layer.to_owned(),
            p15: -1.0 - 0.3 * noise(self.number, step) as f32,
            p50: 0.1 * noise(step, self.number) as f32,
            p85: 1.0 + 0.3 * noise(self.seed, step) as f32,
        });
        Telemetry { step, blocks: blocks.collect(), activations: activations.into() }
    }

    /// Four processes, of which the last is the slowest.
    fn ranks(&self, step: u64) -> RankReport {
        let seconds = |rank: u64| SECONDS_PER_STEP * (0.8 + 0.1 * noise(step, rank) + 0.03 * rank as f64);
        let ranks = (0..4).map(|rank| RankFacts {
            images: self.batch / 4,
            seconds: seconds(rank),
            wait_seconds: 0.01 * noise(rank, step),
        });
        RankReport { step, seconds: SECONDS_PER_STEP, ranks: ranks.collect() }
    }
}

fn system(step: u64) -> SystemSample {
    SystemSample {
        cpu_percent: 80.0 + 10.0 * noise(1, step) as f32,
        process_cpu_percent: 150.0 + 30.0 * noise(2, step) as f32,
        process_bytes: 900_000_000 + step * 100,
        available_bytes: 20_000_000_000,
        total_bytes: 32_000_000_000,
        gpus: Vec::new(),
    }
}

fn write_run(folder: &Path, number: u64, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let steps = arguments.steps;
    fs::create_dir_all(folder)?;
    let mut log = BufWriter::new(File::create(folder.join(LOG_FILE))?);
    let mut tensorboard = arguments.tensorboard.then(|| TensorBoard::create(folder)).transpose()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let run = Run::numbered(number);
    // Most have ended; the last one goes on, others failed, were stopped or were killed.
    let last = if number % 10 == 7 { steps * 2 / 3 } else { steps };
    let begun = now - SECONDS_PER_STEP * last as f64 + number as f64 * 1e-3;
    let mut write = |step: u64, event: Event| -> Result<(), Box<dyn Error>> {
        let record = Record { schema: SCHEMA, time: begun + SECONDS_PER_STEP * step as f64, event };
        serde_json::to_writer(&mut log, &record)?;
        log.write_all(b"\n")?;
        if let Some(sink) = &mut tensorboard {
            sink.take(&record)?;
        }
        Ok(())
    };
    write(0, Event::Start(Box::new(run.start(steps))))?;
    for step in 1..=last {
        write(step, Event::Step(run.step(step, steps)))?;
        if step % (steps / VALIDATIONS).max(1) == 0 {
            write(step, Event::Validation(Box::new(run.validation(step, steps))))?;
        }
        if step % (steps / MEASUREMENTS).max(1) == 0 {
            write(step, Event::Telemetry(Box::new(run.telemetry(step, steps))))?;
            write(step, Event::System(system(step)))?;
            write(step, Event::Ranks(run.ranks(step)))?;
        }
    }
    match number {
        number if number == arguments.runs => {}
        number if number % 20 == 7 => {
            write(last, Event::Failed { step: last, error: "the loss is not finite".to_owned() })?;
        }
        number if number % 10 == 7 => {
            write(last, Event::Interrupted { step: last, reason: "Ctrl-C".to_owned() })?;
        }
        _ => write(last, Event::Finished { step: last })?,
    }
    if let Some(sink) = &mut tensorboard {
        sink.flush()?;
    }
    log.flush()?;
    Ok(())
}
