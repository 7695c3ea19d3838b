//! The state of a run and what happens to it: updates, checkpoints, log lines.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bn_inception::{Model, labels};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorReadError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::broken::BrokenImage;
use crate::checkpoint::{Arrays, Checkpoint, DataFacts};
use crate::checkpoint_folder::CheckpointFolder;
use crate::ema::Ema;
use crate::error::TrainError;
use crate::fine_tune::split_head;
use crate::interrupt::StopSignal;
use crate::loader::ImageLoader;
use crate::meter::Meter;
use crate::observe::Observer;
use crate::parameters::{self, NamedTensors};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::run_log::{Event, Journal, Start, StepFacts, ValidationReport};
use crate::settings::Settings;
use crate::sgd::Sgd;
use crate::step::Classifier;
use crate::summary::Summary;

/// When to save within an epoch. The end of each epoch is saved in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// After this many optimizer steps.
    Steps(u64),
    /// After this much time.
    Time(Duration),
}

impl Default for CheckpointEvery {
    /// Two minutes: what a crash may cost at most.
    fn default() -> Self {
        Self::Time(Duration::from_secs(120))
    }
}

pub(crate) struct Run {
    pub settings: Settings,
    pub recipe: Recipe,
    pub total_steps: u64,
    pub total_epochs: usize,
    pub batches_per_epoch: usize,
    pub data: DataFacts,
    pub progress: Progress,
    pub train_loader: Arc<ImageLoader>,
    pub valid_loader: Arc<ImageLoader>,
    /// Where the network trains; an autodiff device.
    pub device: Device,
    pub meter: Meter,
    pub stop: StopSignal,
    pub sgd: Sgd,
    pub ema: Option<Ema>,
    pub journal: Journal,
    pub observer: Observer,
    pub checkpoints: CheckpointFolder,
    pub checkpoint_every: CheckpointEvery,
    pub keep_checkpoints: usize,
    pub last_save: Instant,
    pub last_good: Option<PathBuf>,
    pub logged_broken: BTreeSet<PathBuf>,
}

impl Run {
    /// Begins the run's log, with what `origin` says of where the run comes from, and saves it before
    /// its first step: it can be resumed from its first moment on, and its output folder is taken from
    /// here on.
    pub fn begin(&mut self, classifier: &Classifier, origin: Start) -> Result<(), TrainError> {
        self.log(Event::Start(Box::new(Start {
            settings: map(&self.settings),
            recipe: map(&self.recipe),
            seed: self.settings.seed,
            total_steps: self.total_steps,
            total_epochs: self.total_epochs,
            train_images: self.train_loader.num_items(),
            val_images: self.valid_loader.num_items(),
            labels: self.labels(),
            parameters: parameter_count(&classifier.model),
            ..origin
        })))?;
        self.save(classifier)
    }

    /// Names of the classes in the order of the logits: ImageNet's for its folders, the folders'
    /// own otherwise.
    pub fn labels(&self) -> Vec<String> {
        let folders = self.data.classes.iter();
        folders
            .map(|folder| labels::of_folder(folder).to_owned())
            .collect()
    }

    /// What came out, once all is done.
    pub fn summary(&self, device: String, parameters: usize, weights: PathBuf) -> Summary {
        let progress = &self.progress;
        let last = progress.validations.last();
        let best = progress.best();
        Summary {
            val_top1: last.map_or(0.0, |last| last.top1),
            val_top5: last.map_or(0.0, |last| last.top5),
            val_loss: last.map_or(0.0, |last| last.loss),
            val_images: last.map_or(0, |last| last.images),
            best_top1: best.map_or(0.0, |best| best.top1),
            best_step: best.map_or(0, |best| best.step),
            steps: progress.step,
            images: progress.images,
            images_per_second: progress.images_per_second(),
            train_seconds: progress.train_seconds,
            data_wait_fraction: progress.wait_fraction(),
            device,
            broken_images: self.broken().len(),
            train_images: self.data.train_images,
            classes: self.data.classes.len(),
            parameters,
            weights,
            settings: self.settings.clone(),
        }
    }

    /// Images that could not be decoded since the run began, training images first.
    pub fn broken(&self) -> Vec<BrokenImage> {
        let mut broken = self.train_loader.broken().list();
        broken.extend(self.valid_loader.broken().list());
        broken
    }

    pub fn is_done(&self) -> bool {
        self.progress.step >= self.total_steps
    }

    /// At the end of an epoch and of the run, unless the validation there was already made.
    pub fn validation_is_due(&self) -> bool {
        let progress = &self.progress;
        let at_end = (progress.batch == 0 && progress.step > 0) || self.is_done();
        at_end && progress.validations.last().map(|last| last.step) != Some(progress.step)
    }

    pub fn checkpoint_is_due(&self) -> bool {
        match self.checkpoint_every {
            CheckpointEvery::Steps(steps) => self.progress.step.is_multiple_of(steps.max(1)),
            CheckpointEvery::Time(time) => self.last_save.elapsed() >= time,
        }
    }

    /// The seed of the device's random stream for batch `part` of optimizer step `step`.
    pub fn step_seed(&self, step: u64, part: usize) -> u64 {
        mix(mix(mix(self.settings.seed) ^ step) ^ part as u64)
    }

    /// Takes one optimizer step.
    pub fn update(&mut self, classifier: &mut Classifier, lr: f64, gradients: NamedTensors) {
        let values = parameters::values(&classifier.model);
        let mut new = match &self.settings.fine_tune {
            None => self.sgd.step(lr, values, gradients),
            Some(fine_tune) => {
                let factor = self
                    .recipe
                    .schedule
                    .factor(self.progress.step, self.total_steps);
                let (head, rest) = split_head(gradients);
                let mut new = self.sgd.step(lr, values.clone(), rest);
                new.extend(self.sgd.step(fine_tune.head_lr * factor, values, head));
                new
            }
        };
        classifier.model = parameters::replace(classifier.model.clone(), &mut new);
        if let Some(ema) = &mut self.ema {
            let mut values = parameters::values(&classifier.model);
            // Averaging equal numbers would round them.
            values.retain(|name, _| !classifier.model.is_frozen(name));
            ema.update(self.progress.step, values);
        }
    }

    /// The classifier to validate and to ship, apart from the one in training: with the averaged
    /// weights and statistics if the recipe averages.
    pub fn shipped(&self, classifier: &Classifier) -> Classifier {
        // `valid` copies the running statistics; a clone would share them with the network in
        // training, and replacing them here would change them there.
        let mut shipped = classifier.valid();
        if let Some(ema) = &self.ema {
            shipped.model = parameters::replace(shipped.model, &mut ema.average().clone());
        }
        shipped
    }

    /// Counts a step on `batches` batches and logs it.
    pub fn advance(&mut self, facts: &StepFacts, batches: usize) -> Result<(), TrainError> {
        let progress = &mut self.progress;
        progress.step = facts.step;
        progress.batch += batches;
        progress.images += facts.images as u64;
        progress.train_seconds += facts.seconds;
        progress.wait_seconds += facts.wait_seconds;
        self.meter.update(|reading| {
            reading.step = facts.step;
            reading.steps_here += 1;
            reading.lr = facts.lr;
            reading.images += facts.images as u64;
            reading.train_seconds += facts.seconds;
            reading.wait_seconds += facts.wait_seconds;
        });
        self.log(Event::Step(*facts))?;
        self.log_broken()
    }

    /// Takes up the count of broken images where a checkpoint left it.
    pub fn restore_broken(&mut self) {
        let progress = &self.progress;
        self.train_loader
            .restore_broken(progress.broken_train.clone());
        self.valid_loader
            .restore_broken(progress.broken_val.clone());
        self.logged_broken = self.broken().into_iter().map(|image| image.path).collect();
    }

    fn log_broken(&mut self) -> Result<(), TrainError> {
        let count = self.train_loader.broken().count() + self.valid_loader.broken().count();
        if count == self.logged_broken.len() {
            return Ok(());
        }
        for image in self.broken() {
            if self.logged_broken.insert(image.path.clone()) {
                self.log(Event::BrokenImage {
                    path: image.path,
                    reason: image.reason,
                })?;
            }
        }
        Ok(())
    }

    /// Takes in a validation's result.
    pub fn validated(&mut self, report: ValidationReport) -> Result<(), TrainError> {
        let result = report.result.clone();
        self.log(Event::Validation(Box::new(report)))?;
        self.meter
            .update(|reading| reading.validation = Some(result.clone()));
        self.progress.validations.push(result);
        self.log_broken()
    }

    /// Saves the run as it stands, and removes checkpoints that are no longer to be kept.
    pub fn save(&mut self, classifier: &Classifier) -> Result<(), TrainError> {
        self.progress.finished = self.is_done() && !self.validation_is_due();
        self.progress.broken_train = self.train_loader.broken().reasons();
        self.progress.broken_val = self.valid_loader.broken().reasons();
        let checkpoint = Checkpoint {
            settings: self.settings.clone(),
            data: self.data.clone(),
            progress: self.progress.clone(),
            model: to_host(&parameters::values(&classifier.model))?,
            velocity: to_host(self.sgd.velocity())?,
            average: match &self.ema {
                Some(ema) => to_host(ema.average())?,
                None => Arrays::new(),
            },
        };
        self.check_finite(&checkpoint)?;
        let path = self.checkpoints.file(self.progress.step);
        checkpoint.save(&path).map_err(TrainError::Save)?;
        self.last_good = Some(path.clone());
        self.last_save = Instant::now();
        let best = self.progress.best().map(|best| best.step);
        self.checkpoints
            .prune(self.keep_checkpoints, best)
            .map_err(TrainError::Save)?;
        self.log(Event::Checkpoint {
            step: self.progress.step,
            path,
        })
    }

    /// The loss is finite when a step begins; the step may still have ruined the weights. Such a
    /// checkpoint must not push out the last good one.
    fn check_finite(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let groups = [
            ("weight", &checkpoint.model),
            ("velocity", &checkpoint.velocity),
            ("average", &checkpoint.average),
        ];
        for (kind, arrays) in groups {
            for (name, values) in arrays {
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    let step = self.progress.step.saturating_sub(1);
                    let lr = self.recipe.rate(step, self.total_steps);
                    let what = format!("a {kind} of {name}");
                    return Err(self.diverged(what, f64::from(*value), step, lr));
                }
            }
        }
        Ok(())
    }

    /// The error for a number of the step under way that is not finite.
    pub fn not_finite(&self, what: String, value: f64, lr: f64) -> TrainError {
        self.diverged(what, value, self.progress.step, lr)
    }

    fn diverged(&self, what: String, value: f64, step: u64, lr: f64) -> TrainError {
        TrainError::NotFinite {
            what,
            value,
            step: step + 1,
            epoch: self.progress.epoch + 1,
            lr,
            last_good: self.last_good.clone(),
        }
    }

    pub fn log(&mut self, event: Event) -> Result<(), TrainError> {
        let written = self.journal.record(event);
        written.map_err(TrainError::output(self.journal.path()))
    }
}

/// A struct's fields by name.
fn map(fields: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(fields) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Number of learned values of `model`.
pub(crate) fn parameter_count(model: &Model) -> usize {
    model.config().parameters()
}

/// SplitMix64's finaliser: neighbouring numbers become unrelated ones.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Copies tensors to the host.
fn to_host(tensors: &NamedTensors) -> Result<Arrays, TensorReadError> {
    tensors
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), tensor.clone().try_into_vec_as::<f32>()?)))
        .collect()
}

/// Copies arrays to `device`.
pub(crate) fn to_device(arrays: Arrays, device: &Device) -> NamedTensors {
    arrays
        .into_iter()
        .map(|(name, values)| (name, Tensor::<1>::from_data(values.as_slice(), device)))
        .collect()
}
