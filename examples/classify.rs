//! The program `classify`: names what is in photographs.
//!
//! ```text
//! cargo run --release --example classify -- church.jpg
//! cargo run --release --example classify -- --weights runs/1/model.safetensors --json *.jpg
//! cargo run --release --example classify -- --weights tsn.pth --preset caffe --preprocess cadene cat.png
//! ```

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception::{DeviceSpec, ImageClassifier, Prediction, decode_file};
use bn_inception_examples::{Downloads, Failure, ForeignWeights, exit_code};
use clap::Parser;
use serde::Serialize;

/// Name what is in photographs: the most probable classes of each image.
#[derive(Parser)]
#[command(name = "classify", version, allow_negative_numbers = true)]
struct Arguments {
    /// Image files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// Weight file or checkpoint, or a name that list-weights prints
    #[arg(long, value_name = "PATH|NAME", default_value = "imagenette")]
    weights: String,

    #[command(flatten)]
    downloads: Downloads,

    /// Number of classes to print for each image
    #[arg(long, value_name = "N", default_value = "5")]
    top: NonZeroUsize,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    /// Print one JSON array with an object for each image
    #[arg(long)]
    json: bool,

    /// Add the raw logits to the JSON
    #[arg(long, requires = "json")]
    logits: bool,

    // Last, because the heading of its flags would apply to any flags after it.
    #[command(flatten)]
    foreign: ForeignWeights,
}

#[derive(Serialize)]
struct Answer {
    image: String,
    predictions: Vec<Prediction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f32>>,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let device = arguments.device.parse::<DeviceSpec>()?.open()?;
    let classifier = arguments.foreign.classifier(&arguments.weights, &arguments.downloads, &device.device)?;
    let mut answers = Vec::with_capacity(arguments.images.len());
    let mut refused = false;
    for path in &arguments.images {
        // One bad file does not affect the others.
        match classify(&classifier, path, arguments) {
            Ok(answer) if arguments.json => answers.push(answer),
            Ok(answer) => print(&answer, arguments.images.len() > 1)?,
            Err(error) => {
                eprintln!("error: {}: {error}", path.display());
                refused = true;
            }
        }
    }
    if arguments.json {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&answers)?)?;
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn classify(classifier: &ImageClassifier, path: &PathBuf, arguments: &Arguments) -> Result<Answer, Failure> {
    let image = decode_file(path)?;
    let logits = classifier.logits(std::slice::from_ref(&image))?.remove(0);
    if !logits.iter().all(|logit| logit.is_finite()) {
        let weights = &arguments.weights;
        return Err(format!("{weights} gives logits that are not finite: its weights are damaged").into());
    }
    Ok(Answer {
        image: path.display().to_string(),
        predictions: classifier.rank(&logits, arguments.top.get()),
        logits: arguments.logits.then_some(logits),
    })
}

fn print(answer: &Answer, named: bool) -> io::Result<()> {
    let mut out = io::stdout();
    if named {
        writeln!(out, "{}", answer.image)?;
    }
    for prediction in &answer.predictions {
        writeln!(out, "{:6.2} %  {}", 100.0 * prediction.probability, prediction.label)?;
    }
    Ok(())
}
