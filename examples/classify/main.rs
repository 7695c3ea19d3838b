//! The program `classify`: names what is in photographs.
//!
//! ```text
//! cargo run --release --example classify -- church.jpg
//! cargo run --release --example classify -- --weights runs/1/model.safetensors --csv photos > named.csv
//! find . -name '*.webp' | cargo run --release --example classify -- --weights cadene --jsonl -
//! ```

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

use answers::{Answer, Answers, Format};
use bn_inception::data::{ParallelMap, left_out};
use bn_inception::image::RgbImage;
use bn_inception::{DeviceSpec, ImageClassifier, decode_file};
use bn_inception_examples::inputs::{Example, Examples, Kind};
use bn_inception_examples::{Downloads, Failure, ForeignWeights, exit_code};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

mod answers;

/// Weights of fewer classes are said to know few: photographs of anything else are named as one of them, too.
const FEW: usize = 100;

/// Name what is in photographs: the most probable classes of each image.
#[derive(Parser)]
#[command(name = "classify", version, allow_negative_numbers = true)]
struct Arguments {
    /// Images, folders of them, or lists: text files with a path in each line; - is a list on standard input
    #[arg(required = true, value_name = "IMAGE|DIR|LIST")]
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

    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,

    /// Threads that decode images, 0 for none besides the main one [default: one for each processor core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=256))]
    workers: Option<u16>,

    /// Print one JSON array with an object for each image
    #[arg(long, conflicts_with_all = ["jsonl", "csv"])]
    json: bool,

    /// Print a JSON object for each image, a line each, as they are found
    #[arg(long, conflicts_with = "csv")]
    jsonl: bool,

    /// Print a table, a line for each class of each image, as they are found
    #[arg(long)]
    csv: bool,

    /// Add the raw logits to the JSON
    #[arg(long, conflicts_with = "csv")]
    logits: bool,

    // Last, because the heading of its flags would apply to any flags after it.
    #[command(flatten)]
    foreign: ForeignWeights,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let format = format(arguments)?;
    let device = arguments.device.parse::<DeviceSpec>()?.open()?;
    let classifier = arguments.foreign.classifier(&arguments.weights, &arguments.downloads, &device.device)?;
    let (found, missing): (Vec<_>, Vec<_>) =
        arguments.images.iter().cloned().partition(|path| path.as_os_str() == "-" || path.exists());
    for path in &missing {
        eprintln!("error: {}: no such file", path.display());
    }
    let images = Examples::find(&found, Kind::Images)?;
    if let Some(line) = left_out(&images.others) {
        eprintln!("warning: {line}");
    }
    let labels = &classifier.metadata().labels;
    if labels.len() < FEW && !images.list.is_empty() {
        let (weights, count) = (&arguments.weights, labels.len());
        let some: Vec<&str> = labels.iter().take(3).map(String::as_str).collect();
        eprintln!("note: {weights} knows {count} classes and names everything as one of them: {}, …", some.join(", "));
    }
    let answers = Answers::begin(format, arguments.images.len() > 1 || images.list.len() > 1)?;
    let refused = classify(&classifier, images.list, answers, arguments)?;
    Ok(if refused || !missing.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn format(arguments: &Arguments) -> Result<Format, Failure> {
    let format = match arguments {
        Arguments { json: true, .. } => Format::Json,
        Arguments { jsonl: true, .. } => Format::JsonLines,
        Arguments { csv: true, .. } => Format::Csv,
        _ => Format::Text,
    };
    if arguments.logits && matches!(format, Format::Text) {
        let message = "--logits goes with --json or --jsonl";
        return Err(bn_inception_examples::WrongArgument(message.to_owned()).into());
    }
    Ok(format)
}

/// Answers for all images, in order; true if one of them has none. One bad file does not affect the others.
fn classify(
    classifier: &ImageClassifier,
    images: Vec<Example>,
    mut answers: Answers,
    arguments: &Arguments,
) -> Result<bool, Failure> {
    let workers = arguments.workers.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    let bar = progress(images.len())?;
    let preprocess = classifier.metadata().preprocess.clone();
    let prepare = move |image: &Example| -> (String, Result<RgbImage, String>) {
        let prepared = match image.files.as_slice() {
            [file] => decode_file(file)
                .map_err(|error| error.to_string())
                .and_then(|image| preprocess.eval_image(&image).map_err(|error| error.to_string())),
            several => Err(format!("{} files in one line, expected one", several.len())),
        };
        (image.name(), prepared)
    };
    let mut refused = false;
    for batch in ParallelMap::new(images, arguments.batch_size.into(), workers, prepare)? {
        let batch = batch?;
        bar.inc(batch.len() as u64);
        let (mut names, mut images) = (Vec::new(), Vec::new());
        for (name, image) in batch {
            match image {
                Ok(image) => {
                    names.push(name);
                    images.push(image);
                }
                Err(reason) => {
                    refused = true;
                    bar.suspend(|| eprintln!("error: {name}: {reason}"));
                }
            }
        }
        for (image, logits) in names.into_iter().zip(classifier.logits(&images)?) {
            if !logits.iter().all(|logit| logit.is_finite()) {
                let weights = &arguments.weights;
                return Err(format!("{weights} gives logits that are not finite: its weights are damaged").into());
            }
            let predictions = classifier.rank(&logits, arguments.top.get());
            answers.add(Answer { image, predictions, logits: arguments.logits.then_some(logits) })?;
        }
        answers.flush()?;
    }
    bar.finish_and_clear();
    answers.finish()?;
    Ok(refused)
}

/// Drawn on a terminal only, and not where the answers are printed.
fn progress(images: usize) -> Result<ProgressBar, Failure> {
    if io::stdout().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} images  {per_sec}  ETA {eta}")?;
    Ok(ProgressBar::new(images as u64).with_style(style))
}
