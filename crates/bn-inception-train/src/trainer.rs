//! The trainer: from a user's choices to trained weights.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bn_inception::device::{DeviceSpec, OpenDevice};
use bn_inception::state;
use bn_inception::weights::{self, Metadata, Precision};
use bn_inception::{Preprocess, labels};
use burn::data::dataloader::DataLoader;
use burn::optim::SgdConfig as BurnSgdConfig;
use burn::tensor::Device;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric, TopKAccuracyMetric};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use serde_json::{Map, Value, json};

use crate::checkpoint::{Arrays, Checkpoint, CheckpointFolder, DataFacts};
use crate::console::{self, Console};
use crate::dataset::{ImageFolder, Split};
use crate::drawn;
use crate::ema::Ema;
use crate::error::TrainError;
use crate::interrupt::StopSignal;
use crate::loader::{ImageLoader, LoaderOptions};
use crate::meter::Meter;
use crate::metric_log::NoMetricLog;
use crate::parameters::{self, NamedTensors};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::run::{CheckpointEvery, Run, to_device};
use crate::run_log::{Event, RunLog};
use crate::settings::{Choices, Settings};
use crate::sgd::Sgd;
use crate::step::Classifier;
use crate::strategy::{Ending, StepLoop};
use crate::summary::Summary;

/// Folder, within the output folder, of the images drawn when there is no other data.
const DRAWN_FOLDER: &str = "data";
const CHECKPOINT_FOLDER: &str = "checkpoints";
const LOG_FILE: &str = "run.jsonl";
const SUMMARY_FILE: &str = "summary.json";
const WEIGHTS_FILE: &str = "model.safetensors";

/// Where progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Display {
    /// burn-train's dashboard if standard output is a terminal, lines on standard output if not.
    #[default]
    Auto,
    /// Lines on standard error: standard output is for a machine.
    Stderr,
    /// Nowhere; the run log has it all.
    Quiet,
}

/// A run to be started or resumed.
#[derive(Debug, Clone)]
pub struct TrainConfig {
    /// Folder with `train/` and `val/`. `None` draws the embedded dataset, or, for a resumed run,
    /// takes the folder it had.
    pub data: Option<PathBuf>,
    /// What determines the numbers of the run.
    pub choices: Choices,
    /// Folder for everything that comes out.
    pub out: PathBuf,
    /// Go on with the run in `out`.
    pub resume: bool,
    /// Where to compute.
    pub device: DeviceSpec,
    /// Threads that decode images.
    pub workers: usize,
    /// Stop at the first image that cannot be decoded, instead of replacing up to 1 % of them.
    pub strict: bool,
    /// When to save within an epoch.
    pub checkpoint_every: CheckpointEvery,
    /// How many checkpoints to keep, besides the best one; at least 1.
    pub keep_checkpoints: usize,
    /// Where to show progress.
    pub display: Display,
}

impl TrainConfig {
    /// A new run into `out`, all else by default.
    #[must_use]
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            data: None,
            choices: Choices::default(),
            out: out.into(),
            resume: false,
            device: DeviceSpec::Auto,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            strict: false,
            checkpoint_every: CheckpointEvery::default(),
            keep_checkpoints: 3,
            display: Display::default(),
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is finished; weights and summary are written.
    Finished(Box<Summary>),
    /// It was stopped, and can be resumed.
    Stopped {
        /// Steps taken.
        step: u64,
        /// Its output folder.
        out: PathBuf,
    },
}

/// A run that is ready to go: its inputs are there, its output folder is writable, its device is
/// open.
pub struct Trainer {
    config: TrainConfig,
    settings: Settings,
    recipe: Recipe,
    device: OpenDevice,
    train: ImageFolder,
    val: ImageFolder,
    start: Start,
}

enum Start {
    New,
    Checkpoint(Box<Checkpoint>, PathBuf),
}

impl Trainer {
    /// Checks all that can be checked before the first step, and draws the embedded dataset if
    /// there is no other. `status` is told, in a line each, what takes a while and what was chosen.
    ///
    /// # Errors
    /// [`TrainError`], before anything in the output folder is changed.
    pub fn new(config: TrainConfig, mut status: impl FnMut(&str)) -> Result<Self, TrainError> {
        let (settings, start) = match config.resume {
            false => (config.choices.settings(config.data.clone())?, Start::New),
            true => {
                let (checkpoint, path) = newest_checkpoint(&config.out)?;
                config.choices.check_against(&checkpoint.settings)?;
                let mut settings = checkpoint.settings.clone();
                settings.data = config.data.clone().or(settings.data);
                (settings, Start::Checkpoint(Box::new(checkpoint), path))
            }
        };
        check_out(&config.out, config.resume)?;
        let recipe = settings.recipe()?;
        let device = config.device.open()?;
        status(&format!("device: {}", device.name));

        let folder = match &settings.data {
            Some(folder) => folder.clone(),
            None => {
                make_writable(&config.out)?;
                let folder = config.out.join(DRAWN_FOLDER);
                status("drawing the embedded images");
                drawn::draw_dataset(&folder, &drawn::DrawnConfig::default())?;
                folder
            }
        };
        let train = ImageFolder::open_split(&folder, Split::Train)?;
        let val = ImageFolder::open_split(&folder, Split::Val)?;
        train.check_same_classes(&val)?;
        settings.network(train.classes().len())?;
        if let Start::Checkpoint(checkpoint, path) = &start {
            check_data(&checkpoint.data, &facts(&train, &val), path)?;
        }
        make_writable(&config.out)?;
        status(&format!(
            "data: {} ({} classes, {} training and {} validation images)",
            folder.display(),
            train.classes().len(),
            train.len(),
            val.len()
        ));
        Ok(Self {
            config,
            settings,
            recipe,
            device,
            train,
            val,
            start,
        })
    }

    /// What the run is determined by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Trains until all steps are done, `stop` is given or something fails. Everything up to the
    /// last checkpoint survives in any case.
    ///
    /// # Errors
    /// [`TrainError`]; those after the first step are in the run log too.
    pub fn run(self, stop: &StopSignal) -> Result<Outcome, TrainError> {
        let out = self.config.out.clone();
        let settings = self.settings.clone();
        let preprocess = Preprocess::imagenet(settings.image_size as u32);
        let data = facts(&self.train, &self.val);
        let labels: Vec<String> = data
            .classes
            .iter()
            .map(|folder| labels::of_folder(folder).to_owned())
            .collect();
        let classes = data.classes.len();
        let device_name = self.device.name.clone();
        let plain = self.device.device.clone();
        let device = plain.clone().autodiff();

        let network = settings.network(classes)?;
        let model = network
            .init_seeded(&device, settings.seed)
            .map_err(crate::settings::SettingsError::from)?;
        let parameters: usize = state::shapes(&model)
            .iter()
            .filter(|(name, _)| state::TensorRole::of(name) != state::TensorRole::Statistic)
            .map(|(_, shape)| shape.num_elements())
            .sum();

        let options = LoaderOptions {
            batch_size: settings.batch_size,
            workers: self.config.workers,
            seed: settings.seed,
            strict: self.config.strict,
        };
        let train_loader = Arc::new(ImageLoader::train(
            Arc::new(self.train),
            preprocess.clone(),
            self.recipe.distortion as f32,
            options,
            &plain,
        )?);
        let valid_loader = Arc::new(ImageLoader::eval(
            Arc::new(self.val),
            preprocess.clone(),
            options,
            &plain,
        )?);

        let batches_per_epoch = train_loader.batches();
        let steps_per_epoch = batches_per_epoch.div_ceil(settings.accumulate);
        let total_steps = settings.total_steps(steps_per_epoch as u64);
        let total_epochs = total_steps.div_ceil(steps_per_epoch as u64) as usize;

        let log_path = out.join(LOG_FILE);
        let checkpoints = CheckpointFolder::new(out.join(CHECKPOINT_FOLDER));
        checkpoints.prepare().map_err(TrainError::Save)?;
        let meter = Meter::default();
        let mut run = Run {
            recipe: self.recipe,
            total_steps,
            batches_per_epoch,
            data,
            progress: Progress::default(),
            train_loader: train_loader.clone(),
            valid_loader: valid_loader.clone(),
            device: device.clone(),
            meter: meter.clone(),
            stop: stop.clone(),
            sgd: Sgd::new(self.recipe.optimizer),
            ema: None,
            log: RunLog::open(&log_path).map_err(TrainError::output(&log_path))?,
            checkpoints,
            checkpoint_every: self.config.checkpoint_every,
            keep_checkpoints: self.config.keep_checkpoints.max(1),
            last_save: Instant::now(),
            last_good: None,
            logged_broken: BTreeSet::new(),
            settings,
        };
        let mut classifier = Classifier::new(model, run.recipe.label_smoothing);
        match self.start {
            Start::New => {
                let average = parameters::values(&classifier.model);
                run.ema = run.recipe.ema.map(|decay| Ema::new(decay, average));
                let settings = run.settings.clone();
                run.log(&Event::Start {
                    settings: &settings,
                    device: &device_name,
                    total_steps,
                    total_epochs,
                    train_images: train_loader.num_items(),
                    val_images: valid_loader.num_items(),
                    labels: &labels,
                    parameters,
                })?;
                // A run can be resumed from its first moment on, and `out` is taken from here on.
                run.save(&classifier)?;
            }
            Start::Checkpoint(checkpoint, path) => {
                restore(&mut run, &mut classifier, *checkpoint, path, &plain)?;
                run.log(&Event::Resume {
                    step: run.progress.step,
                    device: &device_name,
                })?;
            }
        }
        meter.update(|reading| {
            reading.step = run.progress.step;
            reading.total_steps = total_steps;
            reading.epoch = run.progress.epoch + 1;
            reading.total_epochs = total_epochs;
        });

        let first_epoch = run.progress.epoch;
        let (mut run, ending, classifier) = launch(
            run,
            classifier,
            self.config.display,
            (out.as_path(), first_epoch, total_epochs, classes),
            train_loader,
            valid_loader,
        )?;
        match ending {
            Err(error) => {
                let (step, message) = (run.progress.step, error.to_string());
                // The error itself matters more than a log that may be on the same full disk.
                let _ = run.log(&Event::Failed {
                    step,
                    error: &message,
                });
                Err(error)
            }
            Ok(Ending::Stopped) => Ok(Outcome::Stopped {
                step: run.progress.step,
                out,
            }),
            Ok(Ending::Finished) => {
                let summary = summarise(&run, device_name, parameters, out.join(WEIGHTS_FILE));
                let metadata = Metadata {
                    config: network,
                    preprocess,
                    labels,
                    facts: training_facts(&summary),
                };
                weights::save(
                    &summary.weights,
                    &classifier.model,
                    &metadata,
                    Precision::Full,
                )?;
                let path = out.join(SUMMARY_FILE);
                summary.save(&path).map_err(TrainError::output(&path))?;
                run.log(&Event::Finished {
                    step: run.progress.step,
                })?;
                Ok(Outcome::Finished(Box::new(summary)))
            }
        }
    }
}

/// Runs the step loop under burn-train's metrics and renderers.
#[allow(clippy::type_complexity)]
fn launch(
    run: Run,
    classifier: Classifier,
    display: Display,
    (out, first_epoch, total_epochs, classes): (&Path, usize, usize, usize),
    train: Arc<ImageLoader>,
    valid: Arc<ImageLoader>,
) -> Result<(Run, Result<Ending, TrainError>, Classifier), TrainError> {
    let interrupter = Interrupter::new();
    let meter = run.meter.clone();
    let renderer: Box<dyn burn::train::renderer::MetricsRenderer> = match display {
        Display::Auto if io::stdout().is_terminal() => Box::new(TuiMetricsRendererWrapper::new(
            interrupter.clone(),
            Some(first_epoch),
        )),
        Display::Auto => Box::new(Console::new(console::stream(false), meter)),
        Display::Stderr => Box::new(Console::new(console::stream(true), meter)),
        Display::Quiet => Box::new(Console::new(Box::new(io::sink()), meter)),
    };
    let step_loop = StepLoop::new(run);
    let training = SupervisedTraining::new(out, train, valid)
        .metrics((
            LossMetric::new(),
            AccuracyMetric::new(),
            // The metric panics where there are fewer classes than guesses.
            TopKAccuracyMetric::new(classes.min(5)),
        ))
        .metric_train_numeric(LearningRateMetric::new())
        .num_epochs(total_epochs)
        .checkpoint(first_epoch)
        .with_interrupter(interrupter)
        .with_metric_logger(NoMetricLog)
        .with_application_logger(None)
        .renderer(renderer)
        .with_training_strategy(TrainingStrategy::Custom(step_loop.clone()));
    // burn-train's learner wants an optimizer and a schedule; the step loop has its own.
    let learner = Learner::new(classifier, BurnSgdConfig::new().init(), 0.0);
    let result = training.launch(learner);
    let classifier = result.model.clone();
    // Gives the terminal back.
    drop(result);
    match step_loop.take_ending() {
        Some((run, ending)) => Ok((run, ending, classifier)),
        None => Err(TrainError::NotRun),
    }
}

/// Puts the run and its network where the checkpoint was taken.
fn restore(
    run: &mut Run,
    classifier: &mut Classifier,
    checkpoint: Checkpoint,
    path: PathBuf,
    device: &Device,
) -> Result<(), TrainError> {
    let expected = parameters::values(&classifier.model);
    let misfit = |what: String| TrainError::Misfit {
        path: path.clone(),
        what,
    };
    check_arrays(&checkpoint.model, &expected, "weight", true).map_err(misfit)?;
    check_arrays(&checkpoint.velocity, &expected, "velocity", false).map_err(misfit)?;
    let averages = run.recipe.ema.is_some();
    check_arrays(&checkpoint.average, &expected, "average", averages).map_err(misfit)?;

    let mut model = to_device(checkpoint.model, device);
    classifier.model = parameters::replace(classifier.model.clone(), &mut model);
    run.sgd = Sgd::with_velocity(run.recipe.optimizer, to_device(checkpoint.velocity, device));
    let average = to_device(checkpoint.average, device);
    run.ema = run.recipe.ema.map(|decay| Ema::new(decay, average));
    run.progress = checkpoint.progress;
    run.last_good = Some(path);
    Ok(())
}

/// Checks that each array belongs to a value of the network and has its length; with `all`, that
/// none is missing.
fn check_arrays(
    arrays: &Arrays,
    expected: &NamedTensors,
    kind: &str,
    all: bool,
) -> Result<(), String> {
    for (name, values) in arrays {
        let Some(tensor) = expected.get(name) else {
            return Err(format!("the network has no {kind} `{name}`"));
        };
        let (found, expected) = (values.len(), tensor.dims()[0]);
        if found != expected {
            return Err(format!(
                "{kind} `{name}` has {found} values, expected {expected}"
            ));
        }
    }
    match expected.keys().find(|name| !arrays.contains_key(*name)) {
        Some(name) if all => Err(format!("{kind} `{name}` is missing")),
        _ => Ok(()),
    }
}

fn facts(train: &ImageFolder, val: &ImageFolder) -> DataFacts {
    DataFacts {
        classes: train.classes().to_vec(),
        train_images: train.len(),
        val_images: val.len(),
    }
}

fn check_data(before: &DataFacts, now: &DataFacts, path: &Path) -> Result<(), TrainError> {
    let misfit = |what: String| {
        Err(TrainError::Misfit {
            path: path.to_owned(),
            what,
        })
    };
    if before.classes != now.classes {
        return misfit(format!(
            "it has {} classes, the data has {}{}",
            before.classes.len(),
            now.classes.len(),
            if before.classes.len() == now.classes.len() {
                " others"
            } else {
                ""
            },
        ));
    }
    if before != now {
        return misfit(format!(
            "it was trained on {} images and validated on {}, the data has {} and {}",
            before.train_images, before.val_images, now.train_images, now.val_images,
        ));
    }
    Ok(())
}

/// The newest checkpoint of the run in `out`, and its file.
fn newest_checkpoint(out: &Path) -> Result<(Checkpoint, PathBuf), TrainError> {
    let folder = CheckpointFolder::new(out.join(CHECKPOINT_FOLDER));
    let load = |error| TrainError::Load { error, older: None };
    let steps = folder.steps().map_err(load)?;
    let Some((newest, older)) = steps.split_last() else {
        return Err(TrainError::NothingToResume {
            path: out.to_owned(),
        });
    };
    let path = folder.file(*newest);
    match Checkpoint::load(&path) {
        Ok(checkpoint) => Ok((checkpoint, path)),
        Err(error) => Err(TrainError::Load {
            error,
            older: older.last().map(|step| folder.file(*step)),
        }),
    }
}

/// Refuses an output folder that holds a finished run, or an unfinished one that is not resumed.
fn check_out(out: &Path, resume: bool) -> Result<(), TrainError> {
    let path = out.to_owned();
    let finished = out.join(SUMMARY_FILE).exists();
    if resume && finished {
        return Err(TrainError::AlreadyFinished { path });
    }
    let steps = CheckpointFolder::new(out.join(CHECKPOINT_FOLDER)).steps();
    let steps = steps.map_err(|error| TrainError::Load { error, older: None })?;
    if !resume && (finished || !steps.is_empty()) {
        return Err(TrainError::OutputTaken { path, finished });
    }
    Ok(())
}

fn make_writable(out: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(out).map_err(TrainError::output(out))?;
    // Permissions lie (read-only mounts, quotas): only writing tells.
    tempfile::tempfile_in(out).map_err(TrainError::output(out))?;
    Ok(())
}

fn summarise(run: &Run, device: String, parameters: usize, weights: PathBuf) -> Summary {
    let progress = &run.progress;
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
        broken_images: run.broken().len(),
        train_images: run.data.train_images,
        classes: run.data.classes.len(),
        parameters,
        weights,
        settings: run.settings.clone(),
    }
}

/// What the weights' file says about how they came to be.
fn training_facts(summary: &Summary) -> Map<String, Value> {
    let facts = json!({
        "val_top1": summary.val_top1,
        "val_top5": summary.val_top5,
        "val_images": summary.val_images,
        "steps": summary.steps,
        "device": summary.device,
        "settings": summary.settings,
        "program": concat!("bn-inception-train ", env!("CARGO_PKG_VERSION")),
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}
