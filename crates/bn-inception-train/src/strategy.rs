//! The step loop, as a strategy of burn-train's `SupervisedTraining`.
//!
//! burn-train's own loop saves at the end of epochs only, starts each resumed run with the order of
//! the first epoch, drops an epoch that is interrupted, and sums accumulated gradients. This one
//! keeps burn-train's metrics, renderers and interrupter and does the rest: every optimizer step is
//! a place to save at and to go on from, with the same numbers to the last bit where the device's
//! arithmetic is deterministic (the CPU's is).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::data::dataloader::{DataLoader, Progress as ItemProgress};
use burn::module::Module;
use burn::tensor::TensorReadError;
use burn::train::{
    ClassificationOutput, EventProcessorTraining, InferenceStep, Interrupter, Learner,
    LearnerEvent, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader,
    TrainStep, TrainingComponents, TrainingItem, ValidLoader,
};

use crate::clip;
use crate::error::TrainError;
use crate::loader::ImageBatches;
use crate::observe::{Change, Norms, Predictions};
use crate::parameters::{self, NamedTensors};
use crate::progress::Validation;
use crate::rank::rank;
use crate::run::Run;
use crate::run_log::{Event, StepFacts, Telemetry, WarningKind};
use crate::step::Classifier;

type Events = SupervisedTrainingEventProcessor<Classifier>;

/// How the loop ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// It was asked to stop, and saved.
    Stopped,
}

/// The strategy. It runs once.
pub(crate) struct StepLoop {
    run: Mutex<Option<Run>>,
    ending: Mutex<Option<(Run, Result<Ending, TrainError>)>>,
}

impl StepLoop {
    pub(crate) fn new(run: Run) -> Arc<Self> {
        Arc::new(Self {
            run: Mutex::new(Some(run)),
            ending: Mutex::new(None),
        })
    }

    /// The run as the loop left it and how that ended; nothing before the loop has run.
    pub(crate) fn take_ending(&self) -> Option<(Run, Result<Ending, TrainError>)> {
        self.ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl SupervisedLearningStrategy<Classifier> for StepLoop {
    /// Returns the classifier to be validated and shipped, weights averaged if the recipe says so.
    fn fit(
        &self,
        components: TrainingComponents<Classifier>,
        learner: Learner<Classifier>,
        _dataloader_train: TrainLoader<Classifier>,
        _dataloader_valid: ValidLoader<Classifier>,
        _starting_epoch: usize,
    ) -> (Classifier, Events) {
        let mut classifier = learner.model();
        drop(learner);
        let mut events = components.event_processor;
        let run = self
            .run
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut run) = run {
            let ending = Session {
                run: &mut run,
                events: &mut events,
                interrupter: &components.interrupter,
            }
            .train(&mut classifier);
            classifier = run.shipped(&classifier);
            *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some((run, ending));
        }
        (classifier, events)
    }
}

/// A [`Run`] under way, with what burn-train lends it.
struct Session<'a> {
    run: &'a mut Run,
    events: &'a mut Events,
    interrupter: &'a Interrupter,
}

/// Why a pass over data ended.
#[derive(PartialEq, Eq)]
enum Pass {
    Done,
    Stopped,
}

impl Session<'_> {
    fn train(&mut self, classifier: &mut Classifier) -> Result<Ending, TrainError> {
        loop {
            if self.run.validation_is_due() && self.validate(classifier)? == Pass::Stopped {
                return self.stop(classifier);
            }
            if self.run.is_done() {
                return Ok(Ending::Finished);
            }
            if self.train_epoch(classifier)? == Pass::Stopped {
                return self.stop(classifier);
            }
        }
    }

    /// What is left of the current epoch.
    fn train_epoch(&mut self, classifier: &mut Classifier) -> Result<Pass, TrainError> {
        let epoch = self.run.progress.epoch + 1;
        self.run.meter.update(|reading| reading.epoch = epoch);
        self.train_event(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: self.run.train_loader.num_items(),
        })?;
        let loader = Arc::clone(&self.run.train_loader);
        let mut batches = loader.iter_from(epoch as u64 - 1, self.run.progress.batch);
        let pass = loop {
            if self.run.is_done() {
                break Pass::Done;
            }
            self.step(classifier, &mut batches)?;
            if self.run.progress.batch >= self.run.batches_per_epoch {
                self.run.progress.epoch = epoch;
                self.run.progress.batch = 0;
                // The validation that follows can take long; an epoch is too much to lose in it.
                self.run.save(classifier)?;
                break Pass::Done;
            }
            if self.should_stop()? {
                break Pass::Stopped;
            }
            if self.run.checkpoint_is_due() {
                self.run.save(classifier)?;
            }
        };
        self.train_event(LearnerEvent::EndSplit(epoch))?;
        Ok(pass)
    }

    /// One optimizer step over up to `accumulate` batches, as many as the epoch has left.
    fn step(
        &mut self,
        classifier: &mut Classifier,
        batches: &mut ImageBatches,
    ) -> Result<(), TrainError> {
        let started = Instant::now();
        let step = self.run.progress.step;
        let lr = self.run.recipe.rate(step, self.run.total_steps);
        let mut facts = StepFacts {
            step: step + 1,
            epoch: self.run.progress.epoch + 1,
            loss: 0.0,
            top1: 0.0,
            top5: None,
            lr,
            grad_norm: None,
            images: 0,
            seconds: 0.0,
            wait_seconds: 0.0,
        };
        let mut top5 = 0;
        let mut gradients = NamedTensors::new();
        let mut outputs = Vec::new();
        for part in 0..self.run.settings.accumulate {
            let waiting = Instant::now();
            let batch = batches.next_batch();
            facts.wait_seconds += waiting.elapsed().as_secs_f64();
            let Some(batch) = batch.transpose()? else {
                break;
            };

            // Dropout draws from the device's one random stream. Seeding it by the position makes
            // a resumed run draw what the uninterrupted one drew.
            if self.run.recipe.dropout > 0.0 {
                self.run.device.seed(self.run.step_seed(step, part));
            }
            let out = TrainStep::step(classifier, batch);
            let loss = out.item.loss.clone().sum().try_into_scalar::<f64>()?;
            if !loss.is_finite() {
                return Err(self.run.not_finite("the loss".to_owned(), loss, lr));
            }
            let ranks = Rows::of(&out.item)?.ranks();
            let images = ranks.len();
            facts.loss += loss;
            facts.top1 += ranks.iter().filter(|rank| **rank < 1).count() as f64;
            top5 += ranks.iter().filter(|rank| **rank < 5).count();
            facts.images += images;
            let new = parameters::gradients(&classifier.model, out.grads);
            gradients = self.accumulate(gradients, new, images);
            outputs.push((out.item, images));
        }
        if outputs.is_empty() {
            return Err(TrainError::EpochCutShort {
                batches: self.run.progress.batch,
                expected: self.run.batches_per_epoch,
            });
        }
        if self.run.settings.accumulate > 1 {
            gradients = clip::scaled(gradients, 1.0 / facts.images as f64);
        }
        let norms = Norms::of(&gradients)?;
        let norm = norms.global();
        facts.grad_norm = norm.is_finite().then_some(norm);
        if let Some(max_norm) = self.run.settings.clip_norm {
            if !norm.is_finite() {
                return Err(self
                    .run
                    .not_finite("the gradients' norm".to_owned(), norm, lr));
            }
            gradients = clip::clip_by_global_norm(gradients, norm, max_norm);
        }
        let telemetry = self.update(classifier, lr, gradients, &norms)?;
        facts.loss /= facts.images as f64;
        facts.top1 /= facts.images as f64;
        facts.top5 = Some(top5 as f64 / facts.images as f64);
        facts.seconds = started.elapsed().as_secs_f64();
        let batch = self.run.progress.batch;
        self.run.advance(&facts, outputs.len())?;
        if let Some(telemetry) = telemetry {
            self.run.log(Event::Telemetry(Box::new(telemetry)))?;
        }
        if !norm.is_finite() {
            self.run.log(Event::Warning {
                step: facts.step,
                kind: WarningKind::NotFinite,
                message: format!("the gradients' norm is {norm}"),
            })?;
        }

        let total = self.run.train_loader.num_items();
        let mut processed = (batch * self.run.settings.batch_size).min(total);
        for (item, images) in outputs {
            processed = (processed + images).min(total);
            self.train_event(LearnerEvent::ProcessedItem(TrainingItem::new(
                item,
                ItemProgress::new(processed, total, Some("images".to_owned())),
                Some(facts.step as usize),
                Some(lr.into()),
            )))?;
        }
        Ok(())
    }

    /// Changes the parameters and, where it is time to, looks at how.
    fn update(
        &mut self,
        classifier: &mut Classifier,
        lr: f64,
        gradients: NamedTensors,
        norms: &Norms,
    ) -> Result<Option<Telemetry>, TrainError> {
        let step = self.run.progress.step + 1;
        if !self.run.observer.is_due(step) || !norms.global().is_finite() {
            self.run.update(classifier, lr, gradients);
            return Ok(None);
        }
        let before = parameters::values(&classifier.model);
        self.run.update(classifier, lr, gradients);
        let change = Change::between(before, parameters::values(&classifier.model))?;
        // `valid` copies the running statistics: looking does not change them.
        let model = classifier.model.valid();
        let observer = &self.run.observer;
        let telemetry = observer.telemetry(&model, step, norms, &change)?;
        Ok(Some(telemetry))
    }

    /// `sum` with a batch's mean gradients added, weighted by its images so that a smaller last
    /// batch counts for less. Without accumulation the mean stays as it is, bit for bit.
    fn accumulate(&self, sum: NamedTensors, new: NamedTensors, images: usize) -> NamedTensors {
        if self.run.settings.accumulate == 1 {
            return new;
        }
        clip::add(sum, clip::scaled(new, images as f64))
    }

    fn validate(&mut self, classifier: &Classifier) -> Result<Pass, TrainError> {
        let started = Instant::now();
        // A run cut off within an epoch has not finished it, but is validated in it.
        let epoch = self.run.progress.epoch + usize::from(self.run.progress.batch > 0);
        let shipped = self.run.shipped(classifier);
        let loader = Arc::clone(&self.run.valid_loader);
        let total = loader.num_items();
        self.valid_event(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: total,
        })?;
        let (mut top1, mut top5, mut images, mut loss) = (0, 0, 0, 0.0);
        let mut predictions = Predictions::default();
        let mut batches = loader.iter_from(0, 0);
        while let Some(batch) = batches.next_batch().transpose()? {
            let output = InferenceStep::step(&shipped, batch);
            let rows = Rows::of(&output)?;
            let ranks = rows.ranks();
            for (row, class) in rows.iter() {
                predictions.add(row, class);
            }
            top1 += ranks.iter().filter(|rank| **rank < 1).count();
            top5 += ranks.iter().filter(|rank| **rank < 5).count();
            images += ranks.len();
            loss += output.loss.clone().sum().try_into_scalar::<f64>()?;
            self.valid_event(LearnerEvent::ProcessedItem(TrainingItem::new(
                output,
                ItemProgress::new(images, total, Some("images".to_owned())),
                Some(self.run.progress.step as usize),
                None,
            )))?;
            if self.should_stop()? {
                return Ok(Pass::Stopped);
            }
        }
        self.valid_event(LearnerEvent::EndSplit(epoch))?;
        let share = |count: usize| count as f64 / images.max(1) as f64;
        let step = self.run.progress.step;
        let result = Validation {
            step,
            epoch,
            top1: share(top1),
            top5: share(top5),
            loss: loss / images.max(1) as f64,
            images: images as u64,
            seconds: started.elapsed().as_secs_f64(),
        };
        self.run.validated(predictions.report(result, &loader))?;
        if let Some(filters) = self.run.observer.filters(&shipped.model, step) {
            self.run.log(Event::Filters(filters))?;
        }
        if let Some(overlays) = self.run.observer.grad_cam(&shipped.model, step)? {
            self.run.log(Event::GradCam(overlays))?;
        }
        self.train_event(LearnerEvent::EndEpoch(epoch))?;
        self.run.save(classifier)?;
        Ok(Pass::Done)
    }

    fn stop(&mut self, classifier: &Classifier) -> Result<Ending, TrainError> {
        self.run.save(classifier)?;
        let step = self.run.progress.step;
        let reason = self.run.stop.reason().unwrap_or("the terminal interface");
        self.run.log(Event::Interrupted {
            step,
            reason: reason.to_owned(),
        })?;
        Ok(Ending::Stopped)
    }

    /// Whether the user wants the run to stop; an error if burn-train does.
    fn should_stop(&self) -> Result<bool, TrainError> {
        if let Some(error) = self.interrupter.error() {
            return Err(TrainError::Burn(error));
        }
        Ok(self.run.stop.is_stopped() || self.interrupter.should_stop())
    }

    fn train_event(&mut self, event: LearnerEvent<ClassificationOutput>) -> Result<(), TrainError> {
        let sent = self.events.process_train(event);
        sent.map_err(|error| TrainError::Burn(Arc::new(error.into())))
    }

    fn valid_event(&mut self, event: LearnerEvent<ClassificationOutput>) -> Result<(), TrainError> {
        let sent = self.events.process_valid(event);
        sent.map_err(|error| TrainError::Burn(Arc::new(error.into())))
    }
}

/// The logits and classes of some images, on the host.
struct Rows {
    logits: Vec<f32>,
    targets: Vec<i64>,
    classes: usize,
}

impl Rows {
    fn of(output: &ClassificationOutput) -> Result<Self, TensorReadError> {
        Ok(Self {
            logits: output.output.clone().try_into_vec_as::<f32>()?,
            targets: output.targets.clone().try_into_vec_as::<i64>()?,
            classes: output.output.dims()[1],
        })
    }

    /// Each image's logits and class.
    fn iter(&self) -> impl Iterator<Item = (&[f32], usize)> {
        let rows = self.logits.chunks_exact(self.classes).zip(&self.targets);
        rows.map(|(row, target)| (row, *target as usize))
    }

    /// The rank of the right class, for each image.
    fn ranks(&self) -> Vec<usize> {
        self.iter().map(|(row, class)| rank(row, class)).collect()
    }
}
