//! The trainer: from a user's choices to trained weights.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bn_inception::weights::{Metadata, Precision, Weights};
use bn_inception::{DeviceSpec, OpenDevice};
use burn::optim::SgdConfig as BurnSgdConfig;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric, TopKAccuracyMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use crate::checkpoint::{Checkpoint, DataFacts};
use crate::checkpoint_folder::CheckpointFolder;
use crate::console::{self, Console};
use crate::dataset::{ImageFolder, Split, fingerprint};
use crate::drawn;
use crate::ema::Ema;
use crate::error::TrainError;
use crate::fine_tune::Base;
use crate::interrupt::StopSignal;
use crate::loader::{ImageLoader, LoaderOptions};
use crate::meter::Meter;
use crate::metric_log::NoMetricLog;
use crate::observe::{Monitor, Observer, Probe, TELEMETRY_EVERY};
use crate::output::{
    CHECKPOINT_FOLDER, DRAWN_FOLDER, LOG_FILE, SUMMARY_FILE, TENSORBOARD_FOLDER, WEIGHTS_FILE,
    check_out, make_writable, newest_checkpoint,
};
use crate::parameters;
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::restore::{check_data, restore};
use crate::run::{CheckpointEvery, Run, parameter_count};
use crate::run_log::{Event, Journal, RunLog, Sink, Start, TensorBoard, WarningKind};
use crate::settings::{Choices, Settings, SettingsError};
use crate::sgd::Sgd;
use crate::step::Classifier;
use crate::strategy::{Ending, StepLoop};
use crate::summary::Summary;
use crate::terminal::KeepCtrlC;

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
    /// Optimizer steps from one look inside the network to the next, 0 for none.
    pub telemetry_every: u64,
    /// Whether to write TensorBoard's event files, besides the run log.
    pub tensorboard: bool,
    /// The program that trains, with its version, for the run log.
    pub program: String,
    /// Git revision of its source, for the run log.
    pub revision: Option<String>,
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
            telemetry_every: TELEMETRY_EVERY,
            tensorboard: true,
            program: concat!("bn-inception-train ", env!("CARGO_PKG_VERSION")).to_owned(),
            revision: None,
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
    start: Beginning,
}

enum Beginning {
    New,
    FineTune(Box<Base>),
    Checkpoint(Box<Checkpoint>, PathBuf),
}

impl Trainer {
    /// Checks all that can be checked before the first step, and draws the embedded dataset if
    /// there is no other. `status` is told, in a line each, what takes a while and what was chosen.
    ///
    /// # Errors
    /// [`TrainError`], before anything in the output folder is changed.
    pub fn new(config: TrainConfig, mut status: impl FnMut(&str)) -> Result<Self, TrainError> {
        let device = config.device.open()?;
        let (settings, start) = match (config.resume, &config.choices.weights) {
            (false, None) => (
                config.choices.settings(config.data.clone(), None)?,
                Beginning::New,
            ),
            (false, Some(weights)) => {
                let base = Base::open(weights, &device)?;
                let settings = config
                    .choices
                    .settings(config.data.clone(), Some(&base.metadata))?;
                (settings, Beginning::FineTune(Box::new(base)))
            }
            (true, _) => {
                let (checkpoint, path) = newest_checkpoint(&config.out)?;
                config.choices.check_against(&checkpoint.settings)?;
                let mut settings = checkpoint.settings.clone();
                settings.data = config.data.clone().or(settings.data);
                (settings, Beginning::Checkpoint(Box::new(checkpoint), path))
            }
        };
        check_out(&config.out, config.resume)?;
        let recipe = settings.recipe()?;
        status(&format!("device: {}", device.name));

        let folder = match &settings.data {
            Some(folder) => folder.clone(),
            None => {
                make_writable(&config.out)?;
                let folder = config.out.join(DRAWN_FOLDER);
                status("drawing the embedded images");
                drawn::draw_dataset(&folder, &settings.drawn())?;
                folder
            }
        };
        let train = ImageFolder::open_split(&folder, Split::Train)?;
        let val = ImageFolder::open_split(&folder, Split::Val)?;
        train.check_same_classes(&val)?;
        settings.network(train.classes().len())?;
        if let Beginning::Checkpoint(checkpoint, path) = &start {
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
        let display = self.config.display;
        let device_name = self.device.name.clone();
        let (run, classifier) = self.prepare(stop)?;
        let journal = run.journal.clone();
        let monitor = Monitor::start(journal.clone());
        let launched = launch(run, classifier, display, &out);
        drop(monitor);
        let (mut run, ending, classifier) = launched?;
        let outcome = match ending {
            Err(error) => {
                if let TrainError::NotFinite { .. } = &error {
                    let _ = run.log(Event::Warning {
                        step: run.progress.step,
                        kind: WarningKind::NotFinite,
                        message: error.to_string(),
                    });
                }
                // The error itself matters more than a log that may be on the same full disk.
                let _ = run.log(Event::Failed {
                    step: run.progress.step,
                    error: error.to_string(),
                });
                Err(error)
            }
            Ok(Ending::Stopped) => Ok(Outcome::Stopped {
                step: run.progress.step,
                out,
            }),
            Ok(Ending::Finished) => {
                let summary = write_results(&mut run, &classifier, device_name, &out);
                summary.map(|summary| Outcome::Finished(Box::new(summary)))
            }
        };
        journal.close();
        outcome
    }

    /// The run at its beginning, or where its checkpoint was taken, and its network.
    fn prepare(self, stop: &StopSignal) -> Result<(Run, Classifier), TrainError> {
        let Self {
            config,
            settings,
            recipe,
            device,
            train,
            val,
            start,
        } = self;
        let data = facts(&train, &val);
        let origin = Start {
            device: device.name.clone(),
            dataset: fingerprint([&train, &val]),
            telemetry_every: config.telemetry_every,
            ..Start::of_program(config.program, config.revision)
        };
        let plain = device.device;
        let training_device = plain.clone().autodiff();
        let network = settings.network(data.classes.len())?;
        let (model, start) = match start {
            Beginning::FineTune(base) => {
                (base.start(network.classes, settings.seed), Beginning::New)
            }
            start => (network.init_seeded(&training_device, settings.seed), start),
        };
        let mut model = model.map_err(SettingsError::from)?;
        if let Some(end_point) = settings.frozen() {
            model = model
                .freeze_through(end_point)
                .map_err(SettingsError::from)?;
        }
        let mut classifier = Classifier::new(model, recipe.label_smoothing);

        let preprocess = settings.preprocess();
        let options = LoaderOptions {
            batch_size: settings.batch_size,
            workers: config.workers,
            seed: settings.seed,
            strict: config.strict,
        };
        let augment = recipe.augment(preprocess.size);
        let probe = match config.telemetry_every {
            0 => Probe::none(),
            _ => Probe::new(&val, &preprocess, &plain),
        };
        let (train, val) = (Arc::new(train), Arc::new(val));
        let train_loader = ImageLoader::train(train, preprocess.clone(), augment, options, &plain)?;
        let valid_loader = ImageLoader::eval(val, preprocess, options, &plain)?;

        let batches_per_epoch = train_loader.batches();
        let steps_per_epoch = batches_per_epoch.div_ceil(settings.accumulate) as u64;
        let total_steps = settings.total_steps(steps_per_epoch);
        let checkpoints = CheckpointFolder::new(config.out.join(CHECKPOINT_FOLDER));
        checkpoints.prepare().map_err(TrainError::Save)?;
        let average = parameters::values(&classifier.model);
        let mut run = Run {
            settings,
            recipe,
            total_steps,
            total_epochs: total_steps.div_ceil(steps_per_epoch) as usize,
            batches_per_epoch,
            data,
            progress: Progress::default(),
            train_loader: Arc::new(train_loader),
            valid_loader: Arc::new(valid_loader),
            device: training_device,
            meter: Meter::default(),
            stop: stop.clone(),
            sgd: Sgd::new(recipe.optimizer),
            ema: recipe.ema.map(|decay| Ema::new(decay, average)),
            journal: open_journal(&config.out, config.tensorboard)?,
            observer: Observer::new(config.telemetry_every, probe),
            checkpoints,
            checkpoint_every: config.checkpoint_every,
            keep_checkpoints: config.keep_checkpoints.max(1),
            last_save: Instant::now(),
            last_good: None,
            logged_broken: BTreeSet::new(),
        };
        match start {
            Beginning::New | Beginning::FineTune(_) => run.begin(&classifier, origin)?,
            Beginning::Checkpoint(checkpoint, path) => {
                restore(&mut run, &mut classifier, *checkpoint, path, &plain)?;
                run.restore_broken();
                run.log(Event::Resume {
                    step: run.progress.step,
                    device: origin.device,
                })?;
            }
        }
        run.meter.update(|reading| {
            reading.step = run.progress.step;
            reading.total_steps = total_steps;
            reading.epoch = run.progress.epoch + 1;
            reading.total_epochs = run.total_epochs;
        });
        Ok((run, classifier))
    }
}

/// Writes weights and summary, which makes the run a finished one.
fn write_results(
    run: &mut Run,
    classifier: &Classifier,
    device: String,
    out: &Path,
) -> Result<Summary, TrainError> {
    let parameters = parameter_count(&classifier.model);
    let summary = run.summary(device, parameters, out.join(WEIGHTS_FILE));
    let metadata = Metadata {
        config: classifier.model.config().clone(),
        preprocess: run.settings.preprocess(),
        labels: run.labels(),
        facts: summary.facts(),
    };
    let weights = Weights::from_model(&classifier.model, metadata)?;
    weights.save(&summary.weights, Precision::Full)?;
    let path = out.join(SUMMARY_FILE);
    summary.save(&path).map_err(TrainError::output(&path))?;
    run.log(Event::Finished {
        step: run.progress.step,
    })?;
    Ok(summary)
}

/// Runs the step loop under burn-train's metrics and renderers.
fn launch(
    run: Run,
    classifier: Classifier,
    display: Display,
    out: &Path,
) -> Result<(Run, Result<Ending, TrainError>, Classifier), TrainError> {
    let classes = run.data.classes.len();
    let (first_epoch, total_epochs) = (run.progress.epoch, run.total_epochs);
    let (train, valid) = (run.train_loader.clone(), run.valid_loader.clone());
    let interrupter = Interrupter::new();
    let meter = run.meter.clone();
    let on_terminal = display == Display::Auto && io::stdout().is_terminal();
    let _ctrl_c = on_terminal.then(KeepCtrlC::start);
    let renderer: Box<dyn MetricsRenderer> = match display {
        Display::Auto if on_terminal => Box::new(TuiMetricsRendererWrapper::new(
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

/// The run's log with the sinks that are always there.
fn open_journal(out: &Path, tensorboard: bool) -> Result<Journal, TrainError> {
    let path = out.join(LOG_FILE);
    let log = RunLog::open(&path).map_err(TrainError::output(&path))?;
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if tensorboard {
        let folder = out.join(TENSORBOARD_FOLDER);
        let sink = TensorBoard::create(&folder).map_err(TrainError::output(&folder))?;
        sinks.push(Box::new(sink));
    }
    Ok(Journal::new(log, sinks))
}

fn facts(train: &ImageFolder, val: &ImageFolder) -> DataFacts {
    DataFacts {
        classes: train.classes().to_vec(),
        train_images: train.len(),
        val_images: val.len(),
    }
}
