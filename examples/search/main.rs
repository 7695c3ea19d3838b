//! The program `search`: finds the images that are most alike, among the vectors that `embed` wrote.
//!
//! ```text
//! cargo run --release --example search -- photos.npy --query church.jpg
//! cargo run --release --example search -- photos.npy --to alike.html --to alike.csv
//! cargo run --release --example search -- val.npy --scores
//! ```

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bn_inception::burn::tensor::Device;
use bn_inception::data::View;
use bn_inception::{DeviceSpec, Embeddings, EmbeddingsInfo, ImageEmbedder, Neighbour, NeighbourSearch};
use bn_inception_examples::inputs::Example;
use bn_inception_examples::{Downloads, Failure, ForeignWeights, WrongArgument, exit_code, write_file};
use clap::Parser;
use found::{Found, Near};
use indicatif::{ProgressBar, ProgressStyle};

mod found;
mod page;

/// Queries between two moves of the progress bar.
const QUERIES: usize = 2048;

/// Numbers of neighbours of the recalls, those of the literature.
const RECALLS: [usize; 4] = [1, 2, 4, 8];

/// Find the images that are most alike: for each query the vectors with the largest cosines, compared with all.
///
/// Queries are images, which are embedded as the vectors were, or names of rows; without any, each row is one, and is
/// not its own neighbour.
#[derive(Parser)]
#[command(name = "search", version, allow_negative_numbers = true)]
struct Arguments {
    /// Vectors that embed wrote, or others [N, D] of 32-bit floats: .npy or .safetensors
    #[arg(value_name = "FILE")]
    vectors: PathBuf,

    /// An image, the name of a row, or other vectors, .npy or .safetensors; may be repeated [default: every row]
    #[arg(long, value_name = "IMAGE|NAME|FILE")]
    query: Vec<PathBuf>,

    /// Neighbours of each query
    #[arg(long, value_name = "N", default_value = "10")]
    count: NonZeroUsize,

    /// Compare the classes of rows and their nearest others, a row's class being its folder, instead of naming them
    #[arg(long, conflicts_with_all = ["query", "count", "to"])]
    scores: bool,

    /// Print the scores as a JSON object
    #[arg(long, requires = "scores")]
    json: bool,

    /// File to write: .html for a page of thumbnails, .json or .csv; may be repeated [default: print them]
    #[arg(long, value_name = "FILE")]
    to: Vec<PathBuf>,

    #[command(flatten)]
    downloads: Downloads,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    // Last, because the heading of its flags would apply to any flags after it.
    #[command(flatten)]
    foreign: ForeignWeights,
}

/// A way to write what was found.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    Page,
    Json,
    Csv,
}

const TARGETS: [(&str, Target); 3] = [("html", Target::Page), ("json", Target::Json), ("csv", Target::Csv)];

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let targets = arguments.to.iter().map(|path| Ok((path.as_path(), target(path)?)));
    let targets = targets.collect::<Result<Vec<_>, WrongArgument>>()?;
    let device = arguments.device.parse::<DeviceSpec>()?.open()?.device;
    let vectors = Embeddings::read(&arguments.vectors)?;
    let search = NeighbourSearch::new(&vectors.values, vectors.dimension, &device);
    if arguments.scores {
        let scores = search.scores(&folders(&vectors, &arguments.vectors)?, &RECALLS);
        found::print_scores(&scores, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let found = if arguments.query.is_empty() {
        every_row(&search, &vectors, arguments)?
    } else {
        let queries = queries(&vectors, arguments, &device)?;
        queries.into_iter().flat_map(|query| query.nearest(&search, &vectors, arguments)).collect()
    };
    if targets.is_empty() {
        found::print(&found)?;
    }
    for (path, target) in targets {
        let bytes = match target {
            Target::Page => page::page(&found, &arguments.vectors).into_bytes(),
            Target::Json => serde_json::to_vec_pretty(&found)?,
            Target::Csv => found::csv(&found)?,
        };
        write_file(path, &bytes)?;
        writeln!(io::stdout(), "{}: {} queries, {:.1} MB", path.display(), found.len(), bytes.len() as f64 / 1e6)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder of each row's file, which is its class.
fn folders(vectors: &Embeddings, path: &Path) -> Result<Vec<String>, Failure> {
    let folder = |row| {
        let name = vectors.name(row);
        let folder = Path::new(&name).parent().and_then(Path::file_name).and_then(|folder| folder.to_str());
        folder.map(str::to_owned).ok_or_else(|| {
            let path = path.display();
            format!("{path}: row {row} is called {name}, which names no folder, so it has no class").into()
        })
    };
    (0..vectors.rows()).map(folder).collect()
}

fn target(path: &Path) -> Result<Target, WrongArgument> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let found = TARGETS.iter().find(|(name, _)| Some(*name) == extension);
    let known = TARGETS.map(|(name, _)| format!(".{name}")).join(", ");
    let unknown = || WrongArgument(format!("{}: cannot write that format, only {known}", path.display()));
    found.map(|(_, target)| *target).ok_or_else(unknown)
}

/// Each row's nearest others.
fn every_row(search: &NeighbourSearch, vectors: &Embeddings, arguments: &Arguments) -> Result<Vec<Found>, Failure> {
    let bar = ProgressBar::new(search.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} queries  {per_sec}  ETA {eta}")?);
    let mut found = Vec::with_capacity(search.len());
    for start in (0..search.len()).step_by(QUERIES) {
        let rows = start..search.len().min(start + QUERIES);
        let nearest = search.nearest_others(rows.clone(), arguments.count.get());
        found.extend(rows.zip(nearest).map(|(row, nearest)| named(vectors.name(row), nearest, vectors)));
        bar.set_position(found.len() as u64);
    }
    bar.finish_and_clear();
    Ok(found)
}

fn named(query: String, nearest: Vec<Neighbour>, vectors: &Embeddings) -> Found {
    let near = |Neighbour { index, cosine }| Near { name: vectors.name(index), row: index, cosine };
    Found { query, neighbours: nearest.into_iter().map(near).collect() }
}

/// Object of a search.
enum Query {
    Row(usize),
    /// Vectors from elsewhere, with their names.
    Vectors(Vec<String>, Vec<f32>),
}

impl Query {
    fn nearest(self, search: &NeighbourSearch, vectors: &Embeddings, arguments: &Arguments) -> Vec<Found> {
        let count = arguments.count.get();
        let (names, nearest) = match self {
            Self::Row(row) => (vec![vectors.name(row)], search.nearest_others(row..row + 1, count)),
            Self::Vectors(names, values) => (names, search.nearest(&values, count)),
        };
        names.into_iter().zip(nearest).map(|(name, nearest)| named(name, nearest, vectors)).collect()
    }
}

/// The arguments as queries, in order.
fn queries(vectors: &Embeddings, arguments: &Arguments, device: &Device) -> Result<Vec<Query>, Failure> {
    let mut embedder = None;
    let mut queries = Vec::new();
    for query in &arguments.query {
        let name = query.display().to_string();
        let row = (0..vectors.rows()).find(|row| vectors.name(*row) == name);
        if let Some(row) = row {
            queries.push(Query::Row(row));
            continue;
        }
        if matches!(query.extension().and_then(|extension| extension.to_str()), Some("npy" | "safetensors"))
            && let Ok(other) = Embeddings::read(query)
        {
            if other.dimension != vectors.dimension {
                let (found, expected) = (other.dimension, vectors.dimension);
                return Err(format!("{name}: vectors of {found} values, expected {expected}").into());
            }
            let names = (0..other.rows()).map(|row| other.name(row)).collect();
            queries.push(Query::Vectors(names, other.values));
            continue;
        }
        if embedder.is_none() {
            embedder = Some(self::embedder(vectors, arguments, device)?);
        }
        let Some(embedder) = &embedder else { continue };
        let example = Example { files: vec![query.clone()] };
        let inputs = example.read(embedder).map_err(|reason| format!("{name}: {reason}"))?;
        let (names, inputs): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        queries.push(Query::Vectors(names, embedder.embed_inputs(&inputs)?.concat()));
    }
    Ok(queries)
}

/// The network that the vectors were made by.
fn embedder(vectors: &Embeddings, arguments: &Arguments, device: &Device) -> Result<ImageEmbedder, Failure> {
    let path = arguments.vectors.display();
    let Some(EmbeddingsInfo { weights, end_point, pooling, normalised, whole_image, .. }) = &vectors.info else {
        return Err(format!("{path}: nothing beside it says by which weights, so no image can be compared").into());
    };
    let view = if *whole_image { View::Whole } else { View::Crop };
    let opened = arguments.foreign.open(weights, &arguments.downloads)?;
    let embedder = ImageEmbedder::from_weights(opened, *pooling, device)?;
    let embedder = embedder.with_end_point(end_point)?.with_view(view).normalised(*normalised);
    if embedder.dimension() != vectors.dimension {
        let (found, expected) = (vectors.dimension, embedder.dimension());
        return Err(format!("{path}: vectors of {found} values, {weights} makes {expected}").into());
    }
    Ok(embedder)
}
