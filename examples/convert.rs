//! The program `convert`: writes weights in another format.
//!
//! ```text
//! cargo run --release --example convert -- --from cadene --to cadene.safetensors --half
//! cargo run --release --example convert -- --from model.pth --preset caffe --preprocess cadene --to model.onnx
//! cargo run --release --example convert -- --from imagenette --to features.onnx --fold --end-point 5b --pool average
//! cargo run --release --example convert -- --from imagenette --to pytorch.safetensors --names cadene
//! ```

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception::weights::{Names, Precision};
use bn_inception::{Pooling, Preset};
use bn_inception_examples::{Downloads, Failure, ForeignWeights, WrongArgument, exit_code, write_file};
use clap::{Parser, ValueEnum};

/// Write weights in another format. What a file of this project says about itself (network, preprocessing, labels,
/// licence) stays inside.
#[derive(Parser)]
#[command(name = "convert", version, allow_negative_numbers = true)]
struct Arguments {
    /// Weight file or checkpoint, or a name that list-weights prints
    #[arg(long, value_name = "PATH|NAME")]
    from: String,

    #[command(flatten)]
    downloads: Downloads,

    /// File to write: .safetensors, .bpk (Burn) or .onnx
    #[arg(long, value_name = "PATH")]
    to: PathBuf,

    /// Store filters as 16-bit floats; not for .onnx
    #[arg(long)]
    half: bool,

    /// Merge batch normalisation into filters and biases: for inference only
    #[arg(long)]
    fold: bool,

    /// Make the network one for inputs of N channels, 1 to 64: the first filters averaged over the colours and repeated
    #[arg(long, value_name = "N")]
    input_channels: Option<usize>,

    /// Leave the network at stem, 3a … 5b, pooled, or at classifier; only for .onnx [default: its logits]
    #[arg(long, value_name = "NAME")]
    end_point: Option<String>,

    /// Pixels to one vector there: average, max, or sum (of both) [default: average]
    #[arg(long, value_name = "NAME", requires = "end_point")]
    pool: Option<Pooling>,

    /// Names of the tensors; not for .onnx
    #[arg(long, value_enum, default_value_t = Naming::Own)]
    names: Naming,

    // Last, because the heading of its flags would apply to any flags after it.
    #[command(flatten)]
    foreign: ForeignWeights,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Naming {
    /// This project's names
    Own,
    /// Those of pretrainedmodels' BNInception, for PyTorch's load_state_dict
    Cadene,
}

/// Format given by the extension of `--to`.
#[derive(Clone, Copy)]
enum Target {
    Safetensors,
    Burnpack,
    Onnx,
}

const TARGETS: [(&str, Target); 3] =
    [("safetensors", Target::Safetensors), ("bpk", Target::Burnpack), ("onnx", Target::Onnx)];

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let target = target(arguments)?;
    let mut weights = arguments.foreign.open(&arguments.from, &arguments.downloads)?;
    if let Some(channels) = arguments.input_channels {
        weights = weights.with_input_channels(channels)?;
    }
    if arguments.fold {
        weights = weights.fold();
    }
    let precision = if arguments.half { Precision::Half } else { Precision::Full };
    let names = match arguments.names {
        Naming::Own => Names::Own,
        Naming::Cadene => Names::Cadene,
    };
    let tensors = weights.state().len();
    let bytes = match target {
        Target::Safetensors => weights.to_safetensors(precision, names)?,
        Target::Burnpack => weights.to_burnpack(precision, names)?,
        Target::Onnx => match &arguments.end_point {
            None => weights.into_onnx()?,
            Some(end_point) => weights.into_onnx_features(end_point, arguments.pool.unwrap_or_default())?,
        },
    };
    let path = &arguments.to;
    write_file(path, &bytes)?;
    writeln!(io::stdout(), "{}: {tensors} tensors, {:.1} MB", path.display(), bytes.len() as f64 / 1e6)?;
    Ok(ExitCode::SUCCESS)
}

fn target(arguments: &Arguments) -> Result<Target, Failure> {
    let path = &arguments.to;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let found = TARGETS.iter().find(|(name, _)| Some(*name) == extension);
    let Some((_, target)) = found else {
        let known = TARGETS.map(|(name, _)| format!(".{name}")).join(", ");
        let message = format!("{}: cannot write that format, only {known}", path.display());
        return Err(WrongArgument(message).into());
    };
    if let Some(end_point) = &arguments.end_point {
        if !matches!(target, Target::Onnx) {
            return Err(WrongArgument("--end-point goes with .onnx alone".to_owned()).into());
        }
        // Of any preset: all have the same end points.
        let known = Preset::Caffe.config().pooled_end_point(end_point);
        known.map_err(|error| WrongArgument(error.to_string()))?;
    }
    if matches!(target, Target::Onnx) && (arguments.half || arguments.names != Naming::Own) {
        return Err(WrongArgument("--half and --names do not go with .onnx".to_owned()).into());
    }
    Ok(*target)
}
