//! The trainer: from a user's choices to trained weights.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bn_inception::weights::{Metadata, Precision, Store, Weights};
use bn_inception::{Model, OpenDevice};
use bn_inception_dashboard::run_log::{Event, Start, WarningKind};
use bn_inception_data::drawn;
use bn_inception_data::{ImageDataset, Split, fingerprint, left_out};
use bn_inception_data::{ImageLoader, LoaderOptions};

use crate::checkpoint::{Checkpoint, CheckpointFolder, DataFacts};
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::events::Events;
use crate::group::{Alone, Group, SharedBroken, Terms};
use crate::interrupt::StopSignal;
use crate::lock::OutputLock;
use crate::observe::{Monitor, Observer};
use crate::optim::{self, Ema, Sgd};
use crate::output::{DRAWN_FOLDER, SUMMARY_FILE, WEIGHTS_FILE, check_out, claim, newest_checkpoint};
use crate::progress::Progress;
use crate::run::Run;
use crate::settings::{Recipe, Settings, SettingsError};
use crate::summary::RunSummary;
use crate::train_loop::{self, Ending};
use crate::versions::VERSIONS;
use crate::weights::open_weights;

/// The end of a run, other than by an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is finished; weights and summary are written.
    Finished(Box<RunSummary>),
    /// It was stopped, and can be resumed.
    Stopped {
        /// Steps taken.
        step: u64,
        /// Its output folder.
        out: PathBuf,
    },
}

/// A run that is ready to start: its inputs exist, its output folder is writable and locked, its device is open.
pub struct Trainer {
    config: TrainConfig,
    settings: Settings,
    recipe: Recipe,
    device: OpenDevice,
    train: ImageDataset,
    val: ImageDataset,
    /// The network to fine-tune.
    base: Option<Model>,
    /// The checkpoint to resume from, and its file.
    checkpoint: Option<(Checkpoint, PathBuf)>,
    /// The right to write the output folder, of rank 0.
    lock: Option<OutputLock>,
    group: Arc<dyn Group>,
}

impl Trainer {
    /// Checks everything that can be checked before the first step, and draws the embedded dataset if there is no
    /// other. `status` is called with one line for each lengthy task and for what was chosen.
    ///
    /// # Errors
    /// [`TrainError`], before anything in the output folder is changed except for its lock.
    pub fn new(config: TrainConfig, status: impl FnMut(&str)) -> Result<Self, TrainError> {
        Self::with_group(config, Arc::new(Alone), status)
    }

    /// [`Self::new`] for a run that the processes of `group` train together. All call it with the same `config`; only the
    /// folder of the data may have another name. Rank 0 draws the embedded dataset, writes the output folder, where the
    /// others find that dataset, and alone calls `status`.
    ///
    /// # Errors
    /// As [`Self::new`], and [`TrainError::Rank`] if the ranks have different settings, data, devices or programs. The
    /// other ranks then wait for this one, until it ends with [`Group::abort`].
    pub fn with_group(
        config: TrainConfig,
        group: Arc<dyn Group>,
        mut status: impl FnMut(&str),
    ) -> Result<Self, TrainError> {
        let is_first = group.rank() == 0;
        let mut status = |line: &str| {
            if is_first {
                status(line);
            }
        };
        let device = config.device.open()?;
        let choices = &config.choices;
        let (mut base, mut checkpoint, mut lock) = (None, None, None);
        if is_first && config.resume && CheckpointFolder::of_run(&config.out).path().is_dir() {
            // Before the checkpoint is read: the process that holds the run may be writing the next one.
            lock = Some(claim(&config.out, true, &mut status)?);
        }
        let settings = if config.resume {
            let (newest, path) = newest_checkpoint(&config.out, group.as_ref())?;
            choices.check_against(&newest.settings)?;
            let mut settings = newest.settings.clone();
            settings.data = config.data.clone().or(settings.data);
            checkpoint = Some((newest, path));
            settings
        } else if let Some(weights) = &choices.weights {
            // Ranks of one machine have one cache: the first downloads.
            let opened = first_alone(group.as_ref(), || open_weights(&Store::new(), weights, None))?;
            let (model, metadata) = opened.model(&device.device.clone().autodiff());
            base = Some(model);
            choices.settings(config.data.clone(), Some(&metadata))?
        } else {
            choices.settings(config.data.clone(), None)?
        };
        if is_first {
            check_out(&config.out, config.resume)?;
        }
        let recipe = settings.recipe()?;
        settings.check_shares(group.size())?;
        status(&format!("device: {}", device.name));

        let folder = match &settings.data {
            Some(folder) => folder.clone(),
            None => {
                let folder = config.out.join(DRAWN_FOLDER);
                if is_first {
                    if lock.is_none() {
                        lock = Some(claim(&config.out, config.resume, &mut status)?);
                    }
                    status("drawing the embedded images");
                    drawn::draw_dataset(&folder, &settings.drawn())?;
                }
                group.gather(&[]);
                folder
            }
        };
        status(&format!("listing the images of {}", folder.display()));
        let train = ImageDataset::open_split(&folder, Split::Train)?;
        let val = ImageDataset::open_split(&folder, Split::Val)?;
        for line in [&train, &val].into_iter().filter_map(|part| left_out(part.left_out())) {
            status(&format!("warning: {line}"));
        }
        train.check_same_classes(&val)?;
        settings.network(train.classes().len())?;
        if let Some((checkpoint, path)) = &checkpoint {
            let fits = checkpoint.check_data(&facts(&train, &val));
            fits.map_err(TrainError::misfit(path))?;
            if !checkpoint.data.has_files() {
                status("the checkpoint is of an earlier version: file names of the data are not compared");
            }
        }
        if is_first && lock.is_none() {
            lock = Some(claim(&config.out, config.resume, &mut status)?);
        }
        let program = format!("{} {}", config.program, config.revision.as_deref().unwrap_or_default());
        Terms::new(&program, &settings, &device.name, [&train, &val]).agree(group.as_ref())?;
        status(&format!(
            "data: {} ({} classes, {} training and {} validation images)",
            folder.display(),
            train.classes().len(),
            train.len(),
            val.len()
        ));
        Ok(Self { config, settings, recipe, device, train, val, base, checkpoint, lock, group })
    }

    /// Everything that determines the run's results.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Trains until all steps are done, `stop` is given or an error occurs. Everything up to the last checkpoint
    /// survives in any case.
    ///
    /// # Errors
    /// [`TrainError`]; those after the first step are in the run log too.
    pub fn run(self, stop: &StopSignal) -> Result<Outcome, TrainError> {
        let device = self.device.name.clone();
        let mut run = self.prepare(stop)?;
        let monitor = run.events.journal().map(Monitor::start);
        if run.group.rank() == 0 {
            let (alone, dashboard) = (run.group.size() == 1, run.config.dashboard.as_deref());
            run.events.show_on(run.config.display.open(run.extent(), alone, dashboard));
        }
        let ending = train_loop::train(&mut run);
        drop(monitor);
        run.events.close_screen();
        let outcome = match ending {
            Err(error) => {
                log_failure(&mut run, &error);
                Err(error)
            }
            Ok(Ending::Stopped) => Ok(Outcome::Stopped { step: run.progress.step, out: run.config.out.clone() }),
            Ok(Ending::Finished) => {
                let summary = write_results(&mut run, device);
                summary.map(|summary| Outcome::Finished(Box::new(summary)))
            }
        };
        run.events.close();
        outcome
    }

    /// The run at its start, or as its checkpoint left it.
    fn prepare(self, stop: &StopSignal) -> Result<Run, TrainError> {
        let Self { config, settings, recipe, device, train, val, base, checkpoint, lock, group } = self;
        let data = facts(&train, &val);
        let origin = Start {
            device: device.name.clone(),
            dataset: fingerprint([&train, &val]),
            telemetry_every: config.telemetry_every,
            ..Start::of_program(config.program.clone(), config.revision.clone(), &VERSIONS)
        };
        let plain = device.device;
        let training_device = plain.clone().autodiff();
        let network = settings.network(data.classes.len())?;
        let model = match base {
            Some(base) => base.with_classes_seeded(network.classes, settings.seed),
            None => network.init_seeded(&training_device, settings.seed),
        };
        let mut model = model.map_err(SettingsError::from)?;
        let tune = settings.fine_tune.as_ref();
        if let Some(end_point) = tune.and_then(|tune| tune.freeze.as_deref()) {
            let frozen = model.freeze_through(end_point);
            model = frozen.map_err(SettingsError::from)?;
        }

        let preprocess = settings.preprocess();
        let options = LoaderOptions {
            batch_size: settings.batch_size,
            workers: config.workers,
            seed: settings.seed,
            strict: config.strict,
        };
        let augment = recipe.augment(preprocess.size);
        let is_first = group.rank() == 0;
        let telemetry_every = if is_first { config.telemetry_every } else { 0 };
        let observer = Observer::new(telemetry_every, &val, &preprocess, &plain);
        let (train, val) = (Arc::new(train), Arc::new(val));
        let train_loader = ImageLoader::train(train, preprocess.clone(), augment, options, &plain)?;
        let valid_loader = ImageLoader::eval(val, preprocess, options, &plain)?;

        let batches_per_epoch = train_loader.batches();
        let steps_per_epoch = batches_per_epoch.div_ceil(settings.accumulate) as u64;
        let total_steps = settings.total_steps(steps_per_epoch);
        let checkpoints = CheckpointFolder::of_run(&config.out);
        if is_first {
            checkpoints.prepare().map_err(TrainError::Save)?;
        }
        let average = |decay| Ema::new(decay, optim::values(&model));
        let mut run = Run {
            recipe,
            total_steps,
            total_epochs: total_steps.div_ceil(steps_per_epoch) as usize,
            batches_per_epoch,
            data,
            progress: Progress::default(),
            train_loader,
            valid_loader,
            device: training_device,
            sgd: Sgd::new(recipe.optimizer),
            ema: recipe.ema.map(average),
            model,
            events: if is_first { Events::open(&config.out, config.tensorboard)? } else { Events::unread() },
            observer,
            checkpoints,
            stop: stop.clone(),
            group,
            broken_train: SharedBroken::default(),
            broken_val: SharedBroken::default(),
            last_save: Instant::now(),
            last_good: None,
            logged_broken: BTreeSet::new(),
            _lock: lock,
            config,
            settings,
        };
        match checkpoint {
            None => run.begin(origin)?,
            Some((checkpoint, path)) => run.resume(checkpoint, path, origin.device)?,
        }
        Ok(run)
    }
}

/// The result of `act`, which rank 0 does before the others.
fn first_alone<T>(group: &dyn Group, act: impl FnOnce() -> T) -> T {
    if group.rank() > 0 {
        group.gather(&[]);
        return act();
    }
    let result = act();
    group.gather(&[]);
    result
}

/// Ends the log with the error.
fn log_failure(run: &mut Run, error: &TrainError) {
    let step = run.progress.step;
    let message = error.to_string();
    // The error itself matters more than the log, which may be on the same full disk.
    if let TrainError::NotFinite { .. } = error {
        let _ = run.events.send(Event::Warning { step, kind: WarningKind::NotFinite, message: message.clone() });
    }
    let error = message;
    let _ = run.events.send(Event::Failed { step, error });
}

/// Writes weights and summary, after which the run counts as finished.
fn write_results(run: &mut Run, device: String) -> Result<RunSummary, TrainError> {
    let out: &Path = &run.config.out;
    let model = run.shipped()?;
    let progress = &run.progress;
    let last = progress.validations.last();
    let best = progress.best();
    let summary = RunSummary {
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
        broken_images: run.broken().len(),
        train_images: run.data.train_images,
        classes: run.data.classes.len(),
        parameters: model.config().parameters(),
        weights: out.join(WEIGHTS_FILE),
        settings: run.settings.clone(),
    };
    let metadata = Metadata {
        config: model.config().clone(),
        preprocess: run.settings.preprocess(),
        labels: run.labels(),
        temperature: None,
        facts: summary.facts(),
    };
    if run.group.rank() > 0 {
        return Ok(summary);
    }
    let weights = Weights::from_model(&model, metadata)?;
    weights.save(&summary.weights, Precision::Full)?;
    let path = out.join(SUMMARY_FILE);
    summary.save(&path).map_err(TrainError::output(&path))?;
    let step = progress.step;
    run.events.send(Event::Finished { step })?;
    Ok(summary)
}

fn facts(train: &ImageDataset, val: &ImageDataset) -> DataFacts {
    DataFacts {
        classes: train.classes().to_vec(),
        train_images: train.len(),
        val_images: val.len(),
        train_files: train.class_fingerprints(),
        val_files: val.class_fingerprints(),
    }
}
