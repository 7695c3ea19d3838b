//! The program `embed`: writes the feature vectors of images, or of any inputs of a network, to one array.
//!
//! ```text
//! cargo run --release --example embed -- photos --to photos.npy --normalise
//! cargo run --release --example embed -- --weights proxy_anchor.pth --preprocess cadene --head embedding \
//!     --end-point classifier --pool sum --normalise cars/test --to cars.safetensors
//! find video -name '*.npy' | cargo run --release --example embed -- --weights flow.safetensors - --to flow.npy
//! ```

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use bn_inception::burn::tensor::Device;
use bn_inception::data::{ParallelMap, View, left_out};
use bn_inception::weights::Weights;
use bn_inception::{DeviceSpec, Embeddings, EmbeddingsInfo, ImageEmbedder, LeftOut, Pooling, Preset};
use bn_inception_examples::inputs::{Example, Examples, Kind};
use bn_inception_examples::{Downloads, Failure, ForeignWeights, WrongArgument, exit_code};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use partial::{Partial, Record, Settings};

mod partial;

/// Write the feature vectors of images to an array, .npy or .safetensors.
///
/// Row k of the array belongs to name k in the file beside it, FILE.json, which also has the settings and the files that
/// were left out, with the reason. A run that was interrupted goes on when it is started again in the same way, and
/// writes the same bytes as one that was not.
#[derive(Parser)]
#[command(name = "embed", version, allow_negative_numbers = true)]
struct Arguments {
    /// Images, arrays ([C, H, W] or [N, C, H, W] in .npy), folders of them, or lists: text files with a path in each line,
    /// or several with tabs between them that are the channels of one example; - is a list on standard input
    #[arg(required = true, value_name = "DIR|LIST|FILE")]
    inputs: Vec<PathBuf>,

    /// Array to write, .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    to: PathBuf,

    /// Weight file or checkpoint, or a name that list-weights prints
    #[arg(long, value_name = "PATH|NAME", default_value = "imagenette")]
    weights: String,

    #[command(flatten)]
    downloads: Downloads,

    /// End point of the network: stem, 3a, 3b, 3c, 4a … 4e, 5a, 5b, or classifier for the outputs of its last layer
    #[arg(long, value_name = "NAME", default_value = "5b")]
    end_point: String,

    /// Pixels to one vector: average, max, or sum (of both)
    #[arg(long, value_name = "NAME", default_value = "average")]
    pool: Pooling,

    /// Vectors of length 1
    #[arg(long)]
    normalise: bool,

    /// Whole images, scaled as for evaluation, instead of their centre squares
    #[arg(long)]
    whole_image: bool,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,

    /// Threads that decode images, 0 for none besides the main one [default: one for each processor core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=256))]
    workers: Option<u16>,

    // Last, because the heading of its flags would apply to any flags after it.
    #[command(flatten)]
    foreign: ForeignWeights,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    check_target(&arguments.to)?;
    // Of any preset: all have the same end points.
    let known = Preset::Caffe.config().pooled_end_point(&arguments.end_point);
    known.map_err(|error| WrongArgument(error.to_string()))?;
    let device = arguments.device.parse::<DeviceSpec>()?.open()?;
    let weights = arguments.foreign.open(&arguments.weights, &arguments.downloads)?;
    if arguments.end_point == "classifier" && !weights.has_classifier() {
        return Err(format!("{}: its last layer is drawn at random", arguments.weights).into());
    }
    let hash = partial::hash_of(&weights)?;
    let embedder = embedder(weights, arguments, &device.device)?;
    let kind = match embedder.metadata().config.image_channels() {
        1 | 3 => Kind::Images,
        _ => Kind::Arrays,
    };
    let mut examples = Examples::find(&arguments.inputs, kind)?;
    // The array of an earlier run, and what is beside it.
    let own = arguments.to.as_os_str().as_encoded_bytes();
    examples.others.retain(|file| !file.as_os_str().as_encoded_bytes().starts_with(own));
    if examples.list.is_empty() {
        return Err(format!("no {} found", if kind == Kind::Images { "images" } else { "arrays" }).into());
    }
    eprintln!("device: {}", device.name);
    if let Some(line) = left_out(&examples.others) {
        eprintln!("warning: {line}");
    }
    let settings = Settings {
        weights: hash,
        end_point: arguments.end_point.clone(),
        pooling: arguments.pool,
        normalised: arguments.normalise,
        whole_image: arguments.whole_image,
        dimension: embedder.dimension(),
        device: device.name,
        batch_size: arguments.batch_size.into(),
        inputs: partial::hash_of_names(examples.list.iter().map(Example::name)),
    };
    let (partial, done) = Partial::open(&arguments.to, &settings)?;
    let started = Instant::now();
    let computed = embed(embedder, &examples, partial, arguments, done)?;
    finish(computed, &examples, settings, arguments, started)
}

fn check_target(path: &Path) -> Result<(), Failure> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if !matches!(extension, Some("npy" | "safetensors")) {
        let message = format!("{}: cannot write that format, only .npy, .safetensors", path.display());
        return Err(WrongArgument(message).into());
    }
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{}: it exists and is not a regular file", path.display()).into());
    }
    Ok(())
}

fn embedder(weights: Weights, arguments: &Arguments, device: &Device) -> Result<ImageEmbedder, Failure> {
    let view = if arguments.whole_image { View::Whole } else { View::Crop };
    let embedder = ImageEmbedder::from_weights(weights, arguments.pool, device)?;
    let embedder = embedder.with_view(view).normalised(arguments.normalise);
    Ok(embedder.with_end_point(&arguments.end_point)?)
}

/// Computes the batches after the first `done` and adds them to `partial`.
fn embed(
    embedder: ImageEmbedder,
    examples: &Examples,
    mut partial: Partial,
    arguments: &Arguments,
    done: usize,
) -> Result<Partial, Failure> {
    let batch_size = usize::from(arguments.batch_size);
    let workers = arguments.workers.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    // Drawn on a terminal only.
    let bar = ProgressBar::new(examples.list.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} files  {per_sec}  ETA {eta}")?);
    let before = (done * batch_size).min(examples.list.len());
    if before > 0 {
        eprintln!("{}: goes on after {before} of {} files", arguments.to.display(), examples.list.len());
    }
    bar.set_position(before as u64);
    bar.reset_eta();
    let reader = embedder.clone();
    let batches =
        ParallelMap::from_batch(done, examples.list.clone(), batch_size, workers, move |example: &Example| {
            example.read(&reader).map_err(|reason| LeftOut { file: example.name(), reason })
        })?;
    for batch in batches {
        let batch = batch?;
        bar.inc(batch.len() as u64);
        let mut record = Record::default();
        let mut inputs = Vec::new();
        for example in batch {
            match example {
                Ok(parts) => inputs.extend(parts),
                Err(file) => record.left_out.push(file),
            }
        }
        for inputs in inputs.chunks(batch_size) {
            let (names, inputs): (Vec<_>, Vec<_>) = inputs.iter().cloned().unzip();
            for (name, vector) in names.into_iter().zip(embedder.embed_inputs(&inputs)?) {
                if vector.iter().all(|value| value.is_finite()) {
                    record.push(name, &vector);
                } else {
                    let reason = "its vector is not finite: the array or the weights are damaged".to_owned();
                    record.left_out.push(LeftOut { file: name, reason });
                }
            }
        }
        for LeftOut { file, reason } in &record.left_out {
            bar.suspend(|| eprintln!("warning: {file}: {reason}"));
        }
        partial.add(record)?;
    }
    bar.finish_and_clear();
    Ok(partial)
}

/// Writes the array and what it is.
fn finish(
    partial: Partial,
    examples: &Examples,
    settings: Settings,
    arguments: &Arguments,
    started: Instant,
) -> Result<ExitCode, Failure> {
    let (all, computed) = partial.read()?;
    let seconds = started.elapsed().as_secs_f64();
    let others = examples
        .others
        .iter()
        .map(|file| LeftOut { file: file.display().to_string(), reason: "of another kind".to_owned() });
    let info = EmbeddingsInfo {
        weights: arguments.weights.clone(),
        end_point: settings.end_point,
        pooling: settings.pooling,
        normalised: settings.normalised,
        whole_image: settings.whole_image,
        names: all.names,
        left_out: all.left_out.into_iter().chain(others).collect(),
    };
    let (rows, missing) = (info.names.len(), info.left_out.len());
    if rows == 0 {
        partial.remove()?;
        return Err(format!("none of {} files has a vector", examples.list.len()).into());
    }
    Embeddings { dimension: settings.dimension, values: all.values, info: Some(info) }.save(&arguments.to)?;
    partial.remove()?;
    let path = arguments.to.display();
    let speed = computed as f64 / seconds;
    let line = format!("{path}: {rows} x {}  {missing} files left out  {speed:.1} rows/s", settings.dimension);
    writeln!(io::stdout(), "{line}")?;
    Ok(ExitCode::SUCCESS)
}
