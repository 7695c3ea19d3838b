//! The program `validate`: measures the accuracy of weights over a folder of labelled images.
//!
//! ```text
//! cargo run --release --example validate -- --weights imagenette --data imagenette --per-class
//! cargo run --release --example validate -- --weights a.safetensors --weights b.safetensors --data imagenette
//! cargo run --release --example validate -- --ensemble a.safetensors,b.safetensors --crops 144 --data imagenette
//! ```

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;

use bn_inception::weights::Precision;
use bn_inception::{Crops, DeviceSpec, Ensemble};
use bn_inception_examples::{Downloads, Failure, ForeignWeights, WrongArgument, exit_code, write_file};
use bn_inception_train::data::{ImageDataset, LoaderOptions, left_out};
use bn_inception_train::{Calibration, Evaluation, calibrate, evaluate};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

mod report;

/// Measure top-1 and top-5 accuracy of weights over the validation images of a dataset.
#[derive(Parser)]
#[command(name = "validate", version, allow_negative_numbers = true)]
struct Arguments {
    /// Weight file or checkpoint, or a name that list-weights prints; repeated, each is measured
    #[arg(long, value_name = "PATH|NAME", default_value = "imagenette")]
    weights: Vec<String>,

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

    /// Add a table: images, accuracies and the most frequent mistake of each class
    #[arg(long)]
    per_class: bool,

    /// Write how many images of each class were taken for each, .csv
    #[arg(long, value_name = "FILE")]
    confusion: Option<PathBuf>,

    /// Write each image's class and prediction, .csv
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,

    /// Fit a temperature to every second image, measure it on the others, and write the weights with it, .safetensors
    #[arg(long, value_name = "FILE", conflicts_with = "ensemble")]
    temperature: Option<PathBuf>,

    /// Print one JSON object, or an array of them for several weights
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
    let several = arguments.ensemble.is_empty() && arguments.weights.len() > 1;
    let one = [&arguments.confusion, &arguments.predictions, &arguments.temperature];
    if several && one.iter().any(|file| file.is_some()) {
        return Err(
            WrongArgument("--confusion, --predictions and --temperature go with one --weights".to_owned()).into()
        );
    }
    if let Some(file) = &arguments.temperature {
        if crops != Crops::Single {
            return Err(WrongArgument("--temperature goes with --crops 1".to_owned()).into());
        }
        if file.extension().is_none_or(|extension| extension != "safetensors") {
            let message = format!("--temperature {}: expected a name that ends in .safetensors", file.display());
            return Err(WrongArgument(message).into());
        }
    }
    let folder = ImageDataset::open_validation(&arguments.data)?;
    let device = arguments.device.parse::<DeviceSpec>()?.open()?;
    let ensemble = |weights: &[String]| -> Result<Ensemble, Failure> {
        let members = weights.iter();
        let members = members.map(|name| arguments.foreign.classifier(name, &arguments.downloads, &device.device));
        Ok(Ensemble::new(members.collect::<Result<_, _>>()?, crops)?)
    };
    // All are opened before the first is measured, which takes long.
    let ensembles: Result<Vec<_>, Failure> = match arguments.ensemble.as_slice() {
        [] => arguments.weights.iter().map(|name| Ok((name.clone(), ensemble(std::slice::from_ref(name))?))).collect(),
        members => ensemble(members).map(|ensemble| vec![(members.join(","), ensemble)]),
    };
    let ensembles = ensembles?;
    eprintln!("device: {}", device.name);
    if let Some(line) = left_out(folder.left_out()) {
        eprintln!("warning: {line}");
    }
    let mut objects = Vec::new();
    for (index, (name, ensemble)) in ensembles.iter().enumerate() {
        let mut rows = Vec::new();
        let result = measure(ensemble, &folder, arguments, &mut rows)?;
        // Of the images, not of the weights.
        for image in result.broken.iter().filter(|_| index == 0) {
            let (path, reason) = (image.path.display(), &image.reason);
            eprintln!("warning: {path} was replaced by another image of its class: {reason}");
        }
        let classes = report::classes(&result, ensemble.labels());
        if let Some(path) = &arguments.confusion {
            write_file(path, &report::confusion(&result, ensemble.labels())?)?;
        }
        if let Some(path) = &arguments.predictions {
            write_file(path, &report::predictions(&result, ensemble.labels(), &folder)?)?;
        }
        let calibration = match &arguments.temperature {
            Some(file) => Some(calibration(&result, &rows, name, file, arguments)?),
            None => None,
        };
        if arguments.json {
            let mut object = serde_json::to_value(&result)?;
            if let Some(calibration) = &calibration {
                object["calibration"] = json!(calibration);
            }
            if several {
                object["weights"] = json!(name);
            }
            if arguments.per_class {
                object["classes"] = json!(classes);
            }
            objects.push(object);
            continue;
        }
        let mut out = io::stdout();
        let named = if several { format!("  {name}") } else { String::new() };
        writeln!(
            out,
            "top-1 {:.2} %  top-5 {:.2} %  calibration error {:.2} %  {} images  {:.1} images/s{named}",
            100.0 * result.top1,
            100.0 * result.top5,
            100.0 * result.calibration_error,
            result.images,
            result.images_per_second
        )?;
        if let (Some(found), Some(file)) = (calibration, &arguments.temperature) {
            writeln!(
                out,
                "temperature {:.3} of {} images: calibration error of the other {} {:.2} %, before {:.2} %; {}",
                found.temperature,
                found.fitted_images,
                found.other_images,
                100.0 * found.error_after,
                100.0 * found.error_before,
                file.display()
            )?;
        }
        if arguments.per_class {
            report::print(&classes, &mut out)?;
        }
    }
    if arguments.json {
        let text = match objects.as_slice() {
            [object] if !several => serde_json::to_string_pretty(object)?,
            objects => serde_json::to_string_pretty(objects)?,
        };
        writeln!(io::stdout(), "{text}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures an ensemble. `rows` gets the probabilities of each image where a temperature is to be fitted.
fn measure(
    ensemble: &Ensemble,
    folder: &ImageDataset,
    arguments: &Arguments,
    rows: &mut Vec<Vec<f32>>,
) -> Result<Evaluation, Failure> {
    let options = LoaderOptions {
        batch_size: arguments.batch_size.into(),
        workers: arguments.workers.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from),
        seed: 0,
        strict: false,
    };
    // Drawn on a terminal only, so that a pipe gets the result and nothing else.
    let bar = ProgressBar::new(folder.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} images  {per_sec}  ETA {eta}")?);
    let keep = arguments.temperature.is_some();
    let result = evaluate(ensemble, folder.clone(), options, |images, probabilities| {
        bar.inc(images.len() as u64);
        let short = |row: &Vec<f64>| row.iter().map(|probability| *probability as f32).collect();
        rows.extend(probabilities.iter().filter(|_| keep).map(short));
    })?;
    bar.finish_and_clear();
    Ok(result)
}

/// Fits a temperature, and writes the weights called `name` with it to `file`.
fn calibration(
    result: &Evaluation,
    rows: &[Vec<f32>],
    name: &str,
    file: &Path,
    arguments: &Arguments,
) -> Result<Calibration, Failure> {
    let found = calibrate(&result.each, rows);
    let found = found.ok_or_else(|| format!("{name}: no temperature can be fitted to {} images", result.images))?;
    let weights = arguments.foreign.open(name, &arguments.downloads)?;
    let before = weights.metadata().temperature.unwrap_or(1.0);
    weights.with_temperature(before * found.temperature)?.save(file, Precision::Full)?;
    Ok(found)
}
