//! Code that the programs of bn-inception share: flags that name weights, inputs, exit codes, written files, figures.

pub mod figure;
pub mod inputs;
pub mod ranks;
pub mod training;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use atomic_write_file::AtomicWriteFile;
use bn_inception::burn::tensor::Device;
use bn_inception::data::UnknownCrops;
use bn_inception::weights::{FetchEvent, Import, Store, Weights, labels};
use bn_inception::{ConfigError, DeviceError, ImageClassifier, Preprocess, Preset};
use bn_inception_train::dashboard::DashboardError;
use bn_inception_train::{SettingsError, TrainError, open_weights};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

/// Description of a weight file of another project (PyTorch, ONNX, MXNet, Caffe, …).
#[derive(Args)]
#[command(next_help_heading = "Weights of other projects")]
pub struct ForeignWeights {
    /// Their network: paper, caffe, onnx, mxnet, tf_slim or small [default: told by the names of their tensors]
    #[arg(long, value_name = "NAME", requires = "preprocess")]
    preset: Option<Preset>,

    /// Their pixels: cadene, caffe, onnx, mxnet, tf_slim, imagenet or flow
    #[arg(long, value_name = "NAME")]
    preprocess: Option<Preprocess>,

    /// Multiplier of the network's channels [default: 1]
    #[arg(long, value_name = "F", requires = "preprocess")]
    width: Option<f64>,

    /// Number of classes that they must have [default: as many as the last layer]
    #[arg(long, value_name = "N", requires = "preprocess")]
    classes: Option<usize>,

    /// Accept that the last layer is missing; it is drawn at random
    #[arg(long, value_name = "LAYER", value_parser = ["fc", "classifier"], requires = "preprocess")]
    allow_missing: Option<String>,

    /// Their last layer, if it has an unusual name: embedding, head.fc …
    #[arg(long, value_name = "LAYER", requires = "preprocess")]
    head: Option<String>,

    /// A layer or tensor to leave out; may be repeated
    #[arg(long, value_name = "LAYER", requires = "preprocess")]
    without: Vec<String>,

    /// Take every scale of batch normalisation as 1 (MXNet symbols with fix_gamma)
    #[arg(long, requires = "preprocess")]
    fix_gamma: bool,

    /// Names of the classes, of any weights: one a line, or JSON such as ImageNet's class index
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

impl ForeignWeights {
    /// Opens `weights`, which may be a checkpoint, with the flags' description if they were given.
    ///
    /// # Errors
    /// [`Failure`], which names the file and the problem.
    pub fn open(&self, weights: &str, downloads: &Downloads) -> Result<Weights, Failure> {
        let opened = open_weights(&downloads.store(), weights, self.import().as_ref())?;
        let Some(file) = &self.labels else {
            return Ok(opened);
        };
        let in_file = |error: &dyn Error| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| in_file(&error))?;
        let labels = labels::parse(&text).map_err(|error| in_file(&error))?;
        opened.with_labels(labels).map_err(|error| format!("{}: for {error}", file.display()).into())
    }

    /// A classifier with `weights` on `device`, opened as by [`Self::open`].
    ///
    /// # Errors
    /// [`Failure`], which names the file and the problem.
    pub fn classifier(
        &self,
        weights: &str,
        downloads: &Downloads,
        device: &Device,
    ) -> Result<ImageClassifier, Failure> {
        let opened = self.open(weights, downloads)?;
        if !opened.has_classifier() {
            let reason = "its last layer is drawn at random: it has features, and can be fine-tuned, but names nothing";
            return Err(format!("{weights}: {reason}").into());
        }
        let channels = opened.metadata().config.image_channels();
        if channels != 3 {
            return Err(format!("{weights}: for inputs of {channels} channels; images have 3").into());
        }
        Ok(ImageClassifier::from_weights(opened, device)?)
    }

    fn import(&self) -> Option<Import> {
        let preprocess = self.preprocess.clone()?;
        let import = match self.preset {
            Some(preset) => Import::new(preset.config(), preprocess),
            None => Import::by_names(preprocess),
        };
        Some(Import {
            config: import.config.clone().with_width(self.width.unwrap_or(1.0)),
            classes: self.classes,
            allow_missing_classifier: self.allow_missing.is_some(),
            fix_gamma: self.fix_gamma,
            head: self.head.clone(),
            without: self.without.clone(),
            ..import
        })
    }
}

/// Flag that forbids downloads.
#[derive(Args)]
pub struct Downloads {
    /// Never download; use what is built in, in the cache, or at the path
    #[arg(long)]
    offline: bool,
}

impl Downloads {
    /// The user's cache, offline if the flag says so, with a progress bar on a terminal.
    pub fn store(&self) -> Store {
        let template = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}";
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::no_length();
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Store::new().offline(self.offline).on_event(move |event| {
            let say = |line: String| bar.suspend(|| eprintln!("{line}"));
            match event {
                FetchEvent::Progress { received, total } => {
                    if let Some(total) = total {
                        bar.set_length(*total);
                    }
                    bar.set_position(*received);
                    if Some(*received) == *total {
                        bar.finish_and_clear();
                    }
                }
                FetchEvent::Waiting => say("waiting for another process to download it".to_owned()),
                FetchEvent::Retrying { problem, after } => {
                    say(format!("{problem}; trying again in {after:.1?}"));
                }
            }
        })
    }
}

/// Writes a file that the user named, atomically.
///
/// # Errors
/// [`Failure`] naming the file, if it cannot be written, or exists and is not a regular file: a device, say, which
/// would be replaced.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = AtomicWriteFile::open(path)?;
        file.write_all(bytes)?;
        file.commit()
    };
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let path = path.display();
        return Err(format!("{path}: it exists and is not a regular file").into());
    }
    write().map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Any error that ends a program; its message is one line.
pub type Failure = Box<dyn Error>;

/// The git revision that the programs were built from, followed by `+` if files had been changed.
pub const REVISION: Option<&str> = option_env!("BN_INCEPTION_REVISION");

/// Exit code of a program that failed otherwise.
const FAILURE: u8 = 1;

/// Exit code of a program whose arguments are wrong: clap's.
const WRONG_ARGUMENT: u8 = 2;

/// An argument that is wrong whatever the files hold: out of its range, unknown, or in contradiction to another one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongArgument(pub String);

/// The program's own exit code, or the failure as one line on standard error and exit code 2 for a wrong argument, 1 for
/// anything else. A closed pipe is no failure: whoever reads has seen enough.
pub fn exit_code(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|error| {
        if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {error}");
        ExitCode::from(failure_code(error.as_ref()))
    })
}

/// The exit code for `error`.
pub(crate) fn failure_code(error: &(dyn Error + 'static)) -> u8 {
    if is_wrong_argument(error) { WRONG_ARGUMENT } else { FAILURE }
}

fn is_wrong_argument(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<TrainError>() {
        Some(TrainError::Settings(_)) => return true,
        Some(TrainError::Device(error)) => return matches!(error, DeviceError::Unknown { .. }),
        _ => {}
    }
    error.is::<WrongArgument>()
        || error.is::<SettingsError>()
        || error.is::<ConfigError>()
        || error.is::<UnknownCrops>()
        || matches!(error.downcast_ref(), Some(DeviceError::Unknown { .. }))
        || error.downcast_ref().is_some_and(DashboardError::is_argument)
}
