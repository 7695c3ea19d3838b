//! What the programs of bn-inception share: flags that say which weights, how they end, and where they come from.

pub mod training;

use std::error::Error;
use std::process::ExitCode;

use bn_inception::burn::tensor::Device;
use bn_inception::import::Import;
use bn_inception::weights::registry::Event;
use bn_inception::weights::{self, Store, Weights, WeightsError};
use bn_inception::{ImageClassifier, Preprocess, Preset};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

/// What a weight file of another project (PyTorch, ONNX, MXNet, Caffe, …) does not say itself.
#[derive(Args)]
#[command(next_help_heading = "Weights of other projects")]
pub struct ForeignWeights {
    /// Their network: paper, caffe, onnx, mxnet, tf_slim or small
    #[arg(long, value_name = "NAME", requires = "preprocess")]
    preset: Option<Preset>,

    /// Their pixels: cadene, caffe, onnx, mxnet, tf_slim or imagenet
    #[arg(long, value_name = "NAME", requires = "preset")]
    preprocess: Option<Preprocess>,

    /// Multiplier of the network's channels [default: 1]
    #[arg(long, value_name = "F", requires = "preset")]
    width: Option<f64>,

    /// How many classes they must have [default: as many as the last layer]
    #[arg(long, value_name = "N", requires = "preset")]
    classes: Option<usize>,

    /// Accept that the last layer is missing; it is drawn at random
    #[arg(long, value_name = "LAYER", value_parser = ["fc", "classifier"], requires = "preset")]
    allow_missing: Option<String>,

    /// Take every scale of batch normalisation as 1 (MXNet symbols with fix_gamma)
    #[arg(long, requires = "preset")]
    fix_gamma: bool,
}

impl ForeignWeights {
    /// Finds `weights`, as the flags say if they were given.
    ///
    /// # Errors
    /// [`WeightsError`] naming the file and what is wrong with it.
    pub fn find(&self, weights: &str, downloads: &Downloads) -> Result<Weights, WeightsError> {
        weights::find(weights, self.import().as_ref(), &downloads.store())
    }

    /// Opens `weights` on `device`, as the flags say if they were given.
    ///
    /// # Errors
    /// [`WeightsError`] naming the file and what is wrong with it.
    pub fn open(
        &self,
        weights: &str,
        downloads: &Downloads,
        device: &Device,
    ) -> Result<ImageClassifier, WeightsError> {
        ImageClassifier::of(self.find(weights, downloads)?, device)
    }

    fn import(&self) -> Option<Import> {
        let (preset, preprocess) = (self.preset?, self.preprocess.clone()?);
        let config = preset.config().with_width(self.width.unwrap_or(1.0));
        Some(Import {
            classes: self.classes,
            allow_missing_classifier: self.allow_missing.is_some(),
            fix_gamma: self.fix_gamma,
            ..Import::new(config, preprocess)
        })
    }
}

/// Whether the network may be used.
#[derive(Args)]
pub struct Downloads {
    /// Never download; use what is built in, in the cache, or at the path
    #[arg(long)]
    offline: bool,
}

impl Downloads {
    /// The user's cache, filled as the flag says, with a progress bar on a terminal.
    pub fn store(&self) -> Store {
        let template = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}";
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::no_length();
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Store::new().offline(self.offline).on_event(move |event| {
            let say = |line: String| bar.suspend(|| eprintln!("{line}"));
            match event {
                Event::Progress { received, total } => {
                    if let Some(total) = total {
                        bar.set_length(*total);
                    }
                    bar.set_position(*received);
                    if Some(*received) == *total {
                        bar.finish_and_clear();
                    }
                }
                Event::Waiting => say("waiting for another process to download it".to_owned()),
                Event::Retrying { problem, after } => {
                    say(format!("{problem}; trying again in {after:.1?}"));
                }
            }
        })
    }
}

/// Anything that ends a program; its message is one line.
pub type Failure = Box<dyn Error>;

/// The git revision that the programs were built from, `+` behind it if files had been changed.
pub const REVISION: Option<&str> = option_env!("BN_INCEPTION_REVISION");

/// The program's own exit code, or the failure as one line on standard error and exit code 1.
pub fn exit_code(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
