//! The program `validate`: measures the accuracy of weights over a folder of labelled images.
//!
//! ```text
//! cargo run --release --example validate -- --weights imagenette --data imagenette
//! cargo run --release --example validate -- --ensemble a.safetensors,b.safetensors --crops 144 --data imagenette
//! ```

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

use bn_inception::{Crops, DeviceSpec, Ensemble};
use bn_inception_examples::{Downloads, Failure, ForeignWeights, exit_code};
use bn_inception_train::data::{ImageDataset, LoaderOptions, left_out};
use bn_inception_train::evaluate;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// Measure top-1 and top-5 accuracy of weights over the validation images of a dataset.
#[derive(Parser)]
#[command(name = "validate", version, allow_negative_numbers = true)]
struct Arguments {
    /// Weight file or checkpoint, or a name that list-weights prints
    #[arg(long, value_name = "PATH|NAME", default_value = "imagenette")]
    weights: String,

    #[command(flatten)]
    downloads: Downloads,

    /// Several weights, whose probabilities are averaged
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', conflicts_with = "weights")]
    ensemble: Vec<String>,

    /// Crops of each image, whose probabilities are averaged: 1, 10 or 144
    #[arg(long, value_name = "N", default_value = "1")]
    crops: String,

    /// Dataset, whose validation images are taken: as --data of train-imagenet; or class folders CLASS/*.jpg alone, in a
    /// folder or a tar; or one WebDataset shard
    #[arg(long, value_name = "PATH")]
    data: PathBuf,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    /// Crops per batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,

    /// Threads that decode images, 0 for none besides the main one [default: one for each processor core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=256))]
    workers: Option<u16>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    // Last, because the heading of its flags would apply to any flags after it.
    #[command(flatten)]
    foreign: ForeignWeights,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let crops: Crops = arguments.crops.parse()?;
    let folder = ImageDataset::open_validation(&arguments.data)?;
    let device = arguments.device.parse::<DeviceSpec>()?.open()?;
    let weights = match arguments.ensemble.as_slice() {
        [] => std::slice::from_ref(&arguments.weights),
        several => several,
    };
    let members = weights.iter();
    let members = members.map(|name| arguments.foreign.classifier(name, &arguments.downloads, &device.device));
    let ensemble = Ensemble::new(members.collect::<Result<_, _>>()?, crops)?;
    eprintln!("device: {}", device.name);
    if let Some(line) = left_out(folder.left_out()) {
        eprintln!("warning: {line}");
    }
    let options = LoaderOptions {
        batch_size: arguments.batch_size.into(),
        workers: arguments.workers.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from),
        seed: 0,
        strict: false,
    };
    // Drawn on a terminal only, so that a pipe gets the result and nothing else.
    let bar = ProgressBar::new(folder.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} images  {per_sec}  ETA {eta}")?);
    let result = evaluate(&ensemble, folder, options, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    for image in &result.broken {
        let (path, reason) = (image.path.display(), &image.reason);
        eprintln!("warning: {path} was replaced by another image of its class: {reason}");
    }
    if arguments.json {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&result)?)?;
    } else {
        writeln!(
            io::stdout(),
            "top-1 {:.2} %  top-5 {:.2} %  {} images  {:.1} images/s",
            100.0 * result.top1,
            100.0 * result.top5,
            result.images,
            result.images_per_second
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
