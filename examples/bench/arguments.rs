//! Arguments of the program.

use std::num::NonZeroUsize;

use bn_inception::{BnInceptionConfig, EnginePrecision, Preset};
use bn_inception_examples::{Downloads, Failure};
use clap::{Parser, ValueEnum};

/// Measure inference or training: milliseconds per image, multiply-adds per second, memory.
///
/// The multiply-adds are those of the direct method whatever the algorithm, so that more per second is faster; the
/// peak is what multiply-add instructions alone reach, measured in the same run.
#[derive(Parser)]
#[command(name = "bench", version, allow_negative_numbers = true)]
pub(crate) struct Arguments {
    /// Measurement to make
    #[arg(long, value_enum, default_value_t = Task::Infer)]
    pub(crate) task: Task,

    /// Images per call, or in a training step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,

    /// Numbers to compute with: f32
    #[arg(long, value_name = "NUMBERS", default_value_t = EnginePrecision::F32)]
    pub(crate) precision: EnginePrecision,

    /// Threads on a CPU [default: RAYON_NUM_THREADS, or one for each processor core]
    #[arg(long, value_name = "T")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Time to measure for
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Weight file, or a name that list-weights prints [default: drawn weights for --preset]
    #[arg(long, value_name = "PATH|NAME")]
    pub(crate) weights: Option<String>,

    /// Network: paper, caffe, onnx, mxnet, tf_slim or small; with --weights, the one of another project's file
    /// [default: caffe]
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<Preset>,

    /// Multiplier of the channels of --preset
    #[arg(long, value_name = "X", conflicts_with = "weights")]
    pub(crate) width: Option<f64>,

    /// Height and width of the images [default: those of the preset or the weights]
    #[arg(long, value_name = "PX")]
    pub(crate) input_size: Option<usize>,

    #[command(flatten)]
    pub(crate) downloads: Downloads,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    pub(crate) device: String,

    /// Print time, algorithm and fraction of the peak of every layer (CPU)
    #[arg(long)]
    pub(crate) per_layer: bool,

    /// End with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Task {
    /// Forward passes of the folded network
    Infer,
    /// Training steps: forward and backward pass, SGD with momentum
    Train,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0 to 86400".to_owned()),
    }
}

impl Arguments {
    /// The network to measure without weights.
    pub(crate) fn config(&self) -> Result<BnInceptionConfig, Failure> {
        let mut config = self.preset.unwrap_or(Preset::Caffe).config();
        config.width = self.width.unwrap_or(config.width);
        config.input_size = self.input_size.unwrap_or(config.input_size);
        config.validate()?;
        Ok(config)
    }
}
