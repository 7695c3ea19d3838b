//! Training one of the two networks, with measurements.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bn_inception_examples::{Failure, REVISION};
use bn_inception_train::dashboard::TensorBoard;
use bn_inception_train::run_log::{ActivationPercentiles, Event, Journal, RunLog, Start, StepFacts, Telemetry};
use bn_inception_train::{VERSIONS, Validation, cross_entropy, percentile, rank};
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::json;

use crate::mnist::{Images, Mnist, PIXELS};
use crate::network::{Network, UNITS};

/// Images per step, as in the paper.
pub const BATCH: usize = 60;

/// Number of test images whose distributions are followed.
const PROBE: usize = 1_000;

/// The unit of the last hidden layer that the figure shows, chosen beforehand.
const TYPICAL: usize = 0;

/// Number of steps between two lines of the log.
const LOG_EVERY: u64 = 50;

/// Number of measurements in a whole run.
const MEASUREMENTS: u64 = 100;

/// Number of measurements between two lines of progress.
const REPORT_EVERY: u64 = 10;

/// Everything that determines a run.
pub struct Options {
    pub batch_norm: bool,
    pub steps: u64,
    pub lr: f64,
    pub init_std: f64,
    pub seed: u64,
    pub out: PathBuf,
}

fn name(batch_norm: bool) -> &'static str {
    if batch_norm { "with batch normalisation" } else { "without batch normalisation" }
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    pub step: u64,
    /// Fraction of the test images classified correctly.
    pub accuracy: f64,
    /// 15th, 50th and 85th percentile of the typical unit's input.
    pub percentiles: [f32; 3],
}

/// Results of a network's training.
#[derive(Debug, Clone, Serialize)]
pub struct Course {
    pub batch_norm: bool,
    pub lr: f64,
    pub init_std: f64,
    pub seconds: f64,
    /// Range of the median of a unit's input over the run, in spreads (half of 85th minus 15th percentile, averaged
    /// over the run); the median over the units of the last hidden layer.
    pub drift_in_spreads: f32,
    /// Ratio of the largest spread in a run to the smallest; likewise a median.
    pub spread_growth: f32,
    pub points: Vec<Point>,
}

impl Course {
    /// First measured step with a test accuracy of at least `accuracy`.
    pub fn steps_to(&self, accuracy: f64) -> Option<u64> {
        let found = self.points.iter().find(|point| point.accuracy >= accuracy);
        found.map(|point| point.step)
    }

    /// Summary in one line.
    pub fn summary(&self) -> String {
        let last = self.points.last().map_or(0.0, |point| point.accuracy);
        let steps = [0.9, 0.95, 0.97].map(|accuracy| match self.steps_to(accuracy) {
            Some(step) => format!("{:.0} % at step {step}", 100.0 * accuracy),
            None => format!("{:.0} % never", 100.0 * accuracy),
        });
        format!(
            "{}: {:.2} % at the end, {}; drift {:.2} spreads, spread x{:.1}; {:.0} s",
            name(self.batch_norm),
            100.0 * last,
            steps.join(", "),
            self.drift_in_spreads,
            self.spread_growth,
            self.seconds
        )
    }
}

/// Trains with plain stochastic gradient descent at a fixed rate (ours) and logs to `options.out`.
pub fn train(data: &Mnist, options: &Options) -> Result<Course, Failure> {
    let started = Instant::now();
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let mut network = Network::new(options.batch_norm, options.init_std, options.seed, &device);
    let mut optimizer = SgdConfig::new().init();
    let journal = open(options, network.parameters(), data)?;
    let mut order = Order::new(data.train.digits.len(), options.seed);
    let mut measurements = Measurements::new(&data.test, &plain);
    let every = (options.steps / MEASUREMENTS).max(1);

    for step in 1..=options.steps {
        let begun = Instant::now();
        let (epoch, chosen) = order.next_batch();
        let (images, digits) = batch(&data.train, chosen, &device);
        let logits = network.forward(images);
        let losses = cross_entropy(logits.clone(), digits.clone(), 0.0);
        let loss = losses.mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(options.lr, network, gradients);
        if step == 1 || step.is_multiple_of(LOG_EVERY) {
            let [top1, top5] = accuracies(logits, digits)?;
            let loss = finite(loss.try_into_scalar::<f64>()?, step, &journal)?;
            let facts = StepFacts {
                step,
                epoch,
                loss,
                top1,
                top5: Some(top5),
                lr: options.lr,
                grad_norm: None,
                images: BATCH,
                seconds: begun.elapsed().as_secs_f64(),
                wait_seconds: 0.0,
            };
            journal.record(Event::Step(facts))?;
        }
        if step.is_multiple_of(every) || step == options.steps {
            measurements.take(&network.valid(), step, epoch, &journal)?;
            if let Some(point) = measurements.points.last()
                && (step / every).is_multiple_of(REPORT_EVERY)
            {
                let accuracy = 100.0 * point.accuracy;
                let name = name(options.batch_norm);
                eprintln!("{name}: step {step} of {}, {accuracy:.2} %", options.steps);
            }
        }
    }
    journal.record(Event::Finished { step: options.steps })?;
    journal.close();
    Ok(Course {
        batch_norm: options.batch_norm,
        lr: options.lr,
        init_std: options.init_std,
        seconds: started.elapsed().as_secs_f64(),
        drift_in_spreads: measurements.over_units(|unit| unit.drift()),
        spread_growth: measurements.over_units(|unit| unit.growth()),
        points: measurements.points,
    })
}

/// The loss, unless training has diverged, which ends the log.
fn finite(loss: f64, step: u64, journal: &Journal) -> Result<f64, Failure> {
    if loss.is_finite() {
        return Ok(loss);
    }
    let error = format!("the loss is {loss} at step {step}; try a smaller --lr");
    journal.record(Event::Failed { step, error: error.clone() })?;
    journal.close();
    Err(error.into())
}

fn open(options: &Options, parameters: usize, data: &Mnist) -> Result<Journal, Failure> {
    let failed =
        |path: &Path, error: io::Error| -> Failure { format!("cannot write {}: {error}", path.display()).into() };
    let out = &options.out;
    fs::create_dir_all(out).map_err(|error| failed(out, error))?;
    let path = out.join("run.jsonl");
    let log = RunLog::open(&path).map_err(|error| failed(&path, error))?;
    let events = TensorBoard::create(&out.join("tensorboard"));
    let events = events.map_err(|error| failed(out, error))?;
    let journal = Journal::new(log, vec![Box::new(events)]);
    let settings = json!({
        "data": "mnist",
        "batch-norm": options.batch_norm,
        "steps": options.steps,
        "batch-size": BATCH,
        "lr": options.lr,
        "init-std": options.init_std,
        "seed": options.seed,
    });
    let program = concat!("mnist-figure1 ", env!("CARGO_PKG_VERSION"));
    let start = Start {
        settings: settings.as_object().cloned().unwrap_or_default(),
        seed: options.seed,
        device: "flex".to_owned(),
        total_steps: options.steps,
        total_epochs: (options.steps as usize * BATCH).div_ceil(data.train.digits.len()),
        train_images: data.train.digits.len(),
        val_images: data.test.digits.len(),
        labels: (0..10).map(|digit| digit.to_string()).collect(),
        parameters,
        ..Start::of_program(program.to_owned(), REVISION.map(str::to_owned), &VERSIONS)
    };
    journal.record(Event::Start(Box::new(start)))?;
    Ok(journal)
}

/// The order of training images: shuffled anew each epoch, the same for both networks.
struct Order {
    indices: Vec<usize>,
    random: ChaCha8Rng,
    place: usize,
    epoch: usize,
}

impl Order {
    fn new(images: usize, seed: u64) -> Self {
        Self {
            indices: (0..images).collect(),
            // Another stream than that of the weights.
            random: ChaCha8Rng::seed_from_u64(!seed),
            place: images,
            epoch: 0,
        }
    }

    /// The epoch, counted from 1, and the images of the next batch. Images that do not fill a batch at an epoch's end
    /// are left out.
    fn next_batch(&mut self) -> (usize, &[usize]) {
        if self.place + BATCH > self.indices.len() {
            self.indices.shuffle(&mut self.random);
            self.place = 0;
            self.epoch += 1;
        }
        self.place += BATCH;
        let end = self.place.min(self.indices.len());
        (self.epoch, &self.indices[end.saturating_sub(BATCH)..end])
    }
}

fn batch(images: &Images, chosen: &[usize], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let mut pixels = Vec::with_capacity(chosen.len() * PIXELS);
    let mut digits = Vec::with_capacity(chosen.len());
    for index in chosen {
        let image = &images.pixels[index * PIXELS..(index + 1) * PIXELS];
        pixels.extend(image.iter().map(|pixel| f32::from(*pixel)));
        digits.push(i64::from(images.digits[*index]));
    }
    let shape = [chosen.len(), PIXELS];
    let pixels = Tensor::from_data(TensorData::new(pixels, shape), device);
    (pixels, Tensor::from_data(digits.as_slice(), device))
}

/// Fractions of the images whose digit is the first guess, and among the first five.
fn accuracies(logits: Tensor<2>, digits: Tensor<1, Int>) -> Result<[f64; 2], Failure> {
    let [images, classes] = logits.dims();
    let logits = logits.try_into_vec_as::<f32>()?;
    let digits = digits.try_into_vec_as::<i64>()?;
    let rows = logits.chunks_exact(classes).zip(digits);
    let ranks: Vec<usize> = rows.map(|(row, digit)| rank(row, digit as usize)).collect();
    Ok([1, 5].map(|guesses| {
        let right = ranks.iter().filter(|rank| **rank < guesses).count();
        right as f64 / images as f64
    }))
}

/// Everything measured over a run.
struct Measurements {
    images: Tensor<2>,
    digits: Tensor<1, Int>,
    points: Vec<Point>,
    /// Percentiles of each unit of the last hidden layer.
    units: Vec<Unit>,
}

/// Percentiles of one unit's input at each measurement.
#[derive(Default)]
struct Unit(Vec<[f32; 3]>);

impl Unit {
    fn spreads(&self) -> impl Iterator<Item = f32> {
        self.0.iter().map(|[p15, _, p85]| (p85 - p15) / 2.0)
    }

    fn drift(&self) -> f32 {
        let medians = self.0.iter().map(|[_, median, _]| *median);
        let (low, high) = extremes(medians);
        (high - low) / (self.spreads().sum::<f32>() / self.0.len() as f32)
    }

    fn growth(&self) -> f32 {
        let (low, high) = extremes(self.spreads());
        high / low
    }
}

fn extremes(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

impl Measurements {
    fn new(test: &Images, device: &Device) -> Self {
        let all: Vec<usize> = (0..test.digits.len()).collect();
        let (images, digits) = batch(test, &all, device);
        Self { images, digits, points: Vec::new(), units: (0..UNITS).map(|_| Unit::default()).collect() }
    }

    /// Measures `network`, an inference copy.
    fn take(&mut self, network: &Network, step: u64, epoch: usize, journal: &Journal) -> Result<(), Failure> {
        let begun = Instant::now();
        let logits = network.forward(self.images.clone());
        let losses = cross_entropy(logits.clone(), self.digits.clone(), 0.0);
        let images = self.digits.dims()[0];
        let [top1, top5] = accuracies(logits, self.digits.clone())?;
        let loss = finite(losses.mean().try_into_scalar::<f64>()?, step, journal)?;
        let result =
            Validation { step, epoch, top1, top5, loss, images: images as u64, seconds: begun.elapsed().as_secs_f64() };
        journal.record(Event::Validation(Box::new(result.into())))?;
        let percentiles = self.follow(network, step, journal)?;
        self.points.push(Point { step, accuracy: top1, percentiles });
        Ok(())
    }

    /// Percentiles, over the first test images, of every layer and of every unit of the last one; returns those of the
    /// typical unit.
    fn follow(&mut self, network: &Network, step: u64, journal: &Journal) -> Result<[f32; 3], Failure> {
        let count = PROBE.min(self.images.dims()[0]);
        let probe = self.images.clone().narrow(0, 0, count);
        let mut activations = Vec::new();
        let mut last = Vec::new();
        for (number, layer) in network.pre_activations(probe).into_iter().enumerate() {
            last = layer.try_into_vec_as::<f32>()?;
            activations.push(named(format!("hidden{}", number + 1), of(&mut last.clone())));
        }
        for (number, unit) in self.units.iter_mut().enumerate() {
            let mut inputs: Vec<f32> = last.iter().skip(number).step_by(UNITS).copied().collect();
            unit.0.push(of(&mut inputs));
        }
        let typical = self.units[TYPICAL].0.last().copied().unwrap_or_default();
        activations.push(named(format!("hidden3.unit{TYPICAL}"), typical));
        journal.record(Event::Telemetry(Box::new(Telemetry { step, blocks: Vec::new(), activations })))?;
        Ok(typical)
    }

    /// The median of a quantity over the units.
    fn over_units(&self, quantity: impl Fn(&Unit) -> f32) -> f32 {
        let mut values: Vec<f32> = self.units.iter().map(quantity).collect();
        percentile(&mut values, 0.5)
    }
}

fn of(values: &mut [f32]) -> [f32; 3] {
    [0.15, 0.5, 0.85].map(|share| percentile(values, share))
}

fn named(layer: String, [p15, p50, p85]: [f32; 3]) -> ActivationPercentiles {
    ActivationPercentiles { layer, p15, p50, p85 }
}
