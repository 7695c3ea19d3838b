//! What the programs of bn-inception share: flags for weights of other projects, how they end, and where they come
//! from.

pub mod training;

use std::error::Error;
use std::process::ExitCode;

use bn_inception::burn::tensor::Device;
use bn_inception::import::Import;
use bn_inception::weights::WeightsError;
use bn_inception::{ImageClassifier, Preprocess, Preset};
use clap::Args;

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
    /// Opens `weights`, as the flags say if they were given.
    ///
    /// # Errors
    /// [`WeightsError`] naming the file and what is wrong with it.
    pub fn open(&self, weights: &str, device: &Device) -> Result<ImageClassifier, WeightsError> {
        match self.import() {
            Some(import) => ImageClassifier::open_as(weights, &import, device),
            None => ImageClassifier::open(weights, device),
        }
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
