//! The state of a run, and every change to it except the steps themselves: starting, saving, resuming.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bn_inception::Model;
use bn_inception_dashboard::run_log::{Event, Start, StepFacts, ValidationReport};
use bn_inception_data::BrokenImage;
use bn_inception_data::ImageLoader;
use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::checkpoint::{Arrays, Checkpoint, CheckpointFolder, DataFacts};
use crate::config::{CheckpointEvery, TrainConfig};
use crate::display::RunExtent;
use crate::error::TrainError;
use crate::events::Events;
use crate::group::{Group, SharedBroken, StepRecord};
use crate::interrupt::StopSignal;
use crate::json_value::json_value;
use crate::lock::OutputLock;
use crate::observe::Observer;
use crate::optim::{self, Ema, Flat, Sgd};
use crate::progress::Progress;
use crate::settings::{Recipe, Settings};

/// Prefix of the names of the classifier's tensors, which have a learning rate of their own in fine-tuning.
const HEAD: &str = "classifier.";

/// Training batches that the statistics of a young average are measured on. One would do; with more than eight, the
/// loss hardly changes.
const RECALIBRATION_BATCHES: usize = 8;

/// A run between two steps.
pub(crate) struct Run {
    pub config: TrainConfig,
    pub settings: Settings,
    pub recipe: Recipe,
    pub total_steps: u64,
    pub total_epochs: usize,
    pub batches_per_epoch: usize,
    pub data: DataFacts,
    pub progress: Progress,
    pub train_loader: ImageLoader,
    pub valid_loader: ImageLoader,
    /// The network in training.
    pub model: Model,
    /// Its device, an autodiff one.
    pub device: Device,
    pub sgd: Sgd,
    pub ema: Option<Ema>,
    pub events: Events,
    pub observer: Observer,
    pub checkpoints: CheckpointFolder,
    pub stop: StopSignal,
    /// The processes that train together; the run is the same in each.
    pub group: Arc<dyn Group>,
    /// Broken training images that all ranks know of.
    pub broken_train: SharedBroken,
    /// Broken validation images that all ranks know of.
    pub broken_val: SharedBroken,
    pub last_save: Instant,
    pub last_good: Option<PathBuf>,
    pub logged_broken: BTreeSet<PathBuf>,
    /// Held by rank 0 as long as the run may write to its folder.
    pub _lock: Option<OutputLock>,
}

impl Run {
    /// Starts the run's log with `origin` and saves the run before its first step: from here on it can be resumed, and
    /// its output folder is taken.
    pub fn begin(&mut self, origin: Start) -> Result<(), TrainError> {
        self.events.send(Event::Start(Box::new(Start {
            settings: map(&self.settings),
            recipe: map(&self.recipe),
            seed: self.settings.seed,
            total_steps: self.total_steps,
            total_epochs: self.total_epochs,
            train_images: self.train_loader.images(),
            val_images: self.valid_loader.images(),
            labels: self.labels(),
            parameters: self.model.config().parameters(),
            ..origin
        })))?;
        self.save()
    }

    /// Restores the run from the checkpoint of the file `path`, to continue on the device called `device`.
    pub fn resume(&mut self, checkpoint: Checkpoint, path: PathBuf, device: String) -> Result<(), TrainError> {
        let values = optim::values(&self.model);
        let fits = checkpoint.check_network(&values, self.recipe.ema.is_some());
        fits.map_err(TrainError::misfit(&path))?;
        let values = values.with_arrays(&checkpoint.model, 0.0);
        self.model = optim::replace(self.model.clone(), &values);
        self.sgd = Sgd::with_velocity(self.recipe.optimizer, &values, &checkpoint.velocity);
        let average = |decay| Ema::new(decay, values.with_arrays(&checkpoint.average, 0.0));
        self.ema = self.recipe.ema.map(average);
        self.progress = checkpoint.progress;
        self.last_good = Some(path);
        let progress = &self.progress;
        self.train_loader.restore_broken(progress.broken_train.clone());
        self.valid_loader.restore_broken(progress.broken_val.clone());
        self.logged_broken = self.broken().into_iter().map(|image| image.path).collect();
        self.events.send(Event::Resume { step: self.progress.step, device })
    }

    /// The extent of the run, for displays.
    pub fn extent(&self) -> RunExtent {
        RunExtent {
            total_steps: self.total_steps,
            total_epochs: self.total_epochs,
            train_images: self.train_loader.images(),
            val_images: self.valid_loader.images(),
            classes: self.data.classes.len(),
            epoch: self.progress.epoch,
            images: self.progress.batch * self.settings.batch_size,
        }
    }

    /// Names of the classes in the order of the logits: ImageNet's for its folders, the folders' own otherwise.
    pub fn labels(&self) -> Vec<String> {
        self.data.labels()
    }

    /// Images that could not be decoded since the run started, training images first.
    pub fn broken(&self) -> Vec<BrokenImage> {
        let mut broken = self.train_loader.broken().list();
        broken.extend(self.valid_loader.broken().list());
        broken
    }

    pub fn is_done(&self) -> bool {
        self.progress.step >= self.total_steps
    }

    /// True at the end of an epoch and of the run, unless the validation there has been done already.
    pub fn validation_is_due(&self) -> bool {
        let progress = &self.progress;
        let at_end = (progress.batch == 0 && progress.step > 0) || self.is_done();
        at_end && progress.validations.last().map(|last| last.step) != Some(progress.step)
    }

    pub fn checkpoint_is_due(&self) -> bool {
        match self.config.checkpoint_every {
            CheckpointEvery::Steps(steps) => self.progress.step.is_multiple_of(steps.max(1)),
            CheckpointEvery::Time(time) => self.last_save.elapsed() >= time,
        }
    }

    /// True once a stop has been requested of any rank.
    pub fn should_stop(&self) -> bool {
        let own = self.stop.is_stopped() || self.events.wants_stop();
        if self.group.size() == 1 {
            return own;
        }
        self.group.gather(&[u8::from(own)]).iter().any(|stop| stop.contains(&1))
    }

    /// Takes over from all ranks what a step leaves besides gradients: statistics of its parts for batch normalisation,
    /// and broken images.
    pub fn share_results(&mut self, records: &[StepRecord]) -> Result<(), TrainError> {
        let device = self.device.clone().inner();
        let mut broken = BTreeMap::new();
        for record in records {
            for part in record.parts.iter().filter(|part| !part.statistics.is_empty()) {
                self.model.blend_statistics(&Tensor::from_floats(&part.statistics[..], &device));
            }
            broken.extend(record.broken.clone());
        }
        Ok(self.broken_train.add(&self.train_loader, broken)?)
    }

    /// Takes one optimizer step with learning rate `lr` and the gradients times `scale`. Returns all values before and
    /// after it if `observed`.
    pub fn update(&mut self, lr: f64, scale: f64, gradients: Flat, observed: bool) -> Option<[Flat; 2]> {
        let step = self.progress.step;
        let head_lr = match &self.settings.fine_tune {
            Some(tune) => tune.head_lr * self.recipe.schedule.factor(step, self.total_steps),
            None => lr,
        };
        let rate = |name: &str| if name.starts_with(HEAD) { head_lr } else { lr };
        let before = observed.then(|| optim::values(&self.model));
        let average = self.ema.as_mut().map(|ema| (ema, step));
        // The clone shares all tensors with the model.
        let (model, after) = self.sgd.step_with(self.model.clone(), gradients, scale, rate, average);
        self.model = model;
        before.map(|before| [before, after])
    }

    /// The network to validate and to ship, separate from the one in training: an inference copy, with the averaged
    /// weights and statistics if the recipe averages.
    pub fn shipped(&self) -> Result<Model, TrainError> {
        // `valid` copies the running statistics; a clone would share them with the network in training, and replacing
        // them here would change them there.
        let shipped = self.model.valid();
        let Some(ema) = &self.ema else {
            return Ok(shipped);
        };
        let shipped = optim::replace(shipped, ema.average());
        // Fine-tuning starts from statistics that fit, and keeps those of the frozen part.
        if ema.is_settled(self.progress.step) || self.settings.fine_tune.is_some() {
            return Ok(shipped);
        }
        // While the weights still move fast, the average of the statistics is not that of the averaged weights, and the
        // differences multiply from layer to layer. Always the same batches: a resumed run validates alike.
        let mut failure = None;
        let batches = self.train_loader.iter_from(0, 0).take(RECALIBRATION_BATCHES);
        let batches = batches.map_while(|batch| batch.map_err(|error| failure = Some(error)).ok());
        let shipped = shipped.recalibrate(batches.map(|batch| batch.images));
        failure.map_or(Ok(shipped), |error| Err(error.into()))
    }

    /// Counts a step on `batches` batches and logs it.
    pub fn advance(&mut self, facts: &StepFacts, batches: usize) -> Result<(), TrainError> {
        let progress = &mut self.progress;
        progress.step = facts.step;
        progress.batch += batches;
        progress.images += facts.images as u64;
        progress.train_seconds += facts.seconds;
        progress.wait_seconds += facts.wait_seconds;
        self.events.send(Event::Step(*facts))?;
        self.log_broken()
    }

    /// Records a validation's result.
    pub fn validated(&mut self, report: ValidationReport) -> Result<(), TrainError> {
        self.progress.validations.push(report.result.clone());
        self.events.send(Event::Validation(Box::new(report)))?;
        self.log_broken()
    }

    fn log_broken(&mut self) -> Result<(), TrainError> {
        let count = self.train_loader.broken().count() + self.valid_loader.broken().count();
        if count == self.logged_broken.len() {
            return Ok(());
        }
        for BrokenImage { path, reason } in self.broken() {
            if self.logged_broken.insert(path.clone()) {
                self.events.send(Event::BrokenImage { path, reason })?;
            }
        }
        Ok(())
    }

    /// Saves the run as it is, and removes old checkpoints; rank 0 does.
    pub fn save(&mut self) -> Result<(), TrainError> {
        self.progress.finished = self.is_done() && !self.validation_is_due();
        self.progress.broken_train = self.train_loader.broken().reasons();
        self.progress.broken_val = self.valid_loader.broken().reasons();
        if self.group.rank() != 0 {
            return Ok(());
        }
        let checkpoint = Checkpoint {
            settings: self.settings.clone(),
            data: self.data.clone(),
            progress: self.progress.clone(),
            model: optim::values(&self.model).to_arrays()?,
            velocity: self.sgd.velocity()?,
            average: self.ema.as_ref().map_or(Ok(Arrays::new()), |ema| ema.average().to_arrays())?,
        };
        self.check_finite(&checkpoint)?;
        let step = self.progress.step;
        let path = self.checkpoints.file(step);
        checkpoint.save(&path).map_err(TrainError::Save)?;
        self.last_good = Some(path.clone());
        self.last_save = Instant::now();
        let best = self.progress.best().map(|best| best.step);
        let keep = self.config.keep_checkpoints.max(1);
        let pruned = self.checkpoints.prune(keep, best);
        pruned.map_err(TrainError::Save)?;
        self.events.send(Event::Checkpoint { step, path })
    }

    /// The loss is finite when a step begins, but the step may still have ruined the weights. Such a checkpoint must
    /// not replace the last good one.
    fn check_finite(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let groups =
            [("weight", &checkpoint.model), ("velocity", &checkpoint.velocity), ("average", &checkpoint.average)];
        for (kind, arrays) in groups {
            for (name, values) in arrays {
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    let step = self.progress.step.saturating_sub(1);
                    let what = format!("a {kind} of {name}");
                    return Err(self.not_finite(what, f64::from(*value), step));
                }
            }
        }
        Ok(())
    }

    /// The error for a value of step `step` (counted from 0) that is not finite.
    pub fn not_finite(&self, what: String, value: f64, step: u64) -> TrainError {
        TrainError::NotFinite {
            what,
            value,
            step: step + 1,
            epoch: self.progress.epoch + 1,
            lr: self.recipe.rate(step, self.total_steps),
            last_good: self.last_good.clone(),
        }
    }
}

/// A struct's fields by name.
fn map(fields: &impl Serialize) -> Map<String, Value> {
    match json_value(fields) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
