//! Weight files: safetensors with everything inside that is needed to use them, and files of other projects.
//!
//! The tensors carry the names of [`state`]. One metadata entry, `bn_inception`, holds [`Metadata`]
//! as JSON: configuration, preprocessing, class labels and facts about the training.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bn_inception_formats::{self as formats, Archive, Format, ReadError};
use burn::tensor::Device;
use half::f16;
use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::config::{BnInceptionConfig, ConfigError};
use crate::folded::{EngineOptions, FoldError, FoldedModel};
use crate::import::{self, Import, ImportError};
use crate::model::Model;
use crate::preprocess::{Preprocess, PreprocessError};
use crate::state::{self, State, StateError, TensorRole};

/// Key of the metadata entry. One entry and not several, because safetensors writes them in random order.
const METADATA_KEY: &str = "bn_inception";

/// Version of [`Metadata`]'s layout.
const SCHEMA: u32 = 1;

/// What a weight file says besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The network the tensors belong to.
    pub config: BnInceptionConfig,
    /// What is done to an image before it enters the network.
    pub preprocess: Preprocess,
    /// Names of the classes, in the order of the logits.
    pub labels: Vec<String>,
    /// How the weights came to be: recipe, data, accuracy, licence, … free-form.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    schema: u32,
    #[serde(flatten)]
    metadata: Metadata,
}

/// Element type of the filters in a file; everything else is `f32` in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    Full,
    /// 16 bits (IEEE half), half the size; read back as `f32`.
    Half,
}

/// Why a weight file could not be read or written. [`WeightsError::path`] says which.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct WeightsError {
    path: PathBuf,
    problem: WeightsProblem,
}

impl WeightsError {
    /// The file, or the name of the built-in weights.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &WeightsProblem {
        &self.problem
    }

    /// What is wrong with it, by value.
    pub fn into_problem(self) -> WeightsProblem {
        self.problem
    }
}

/// What can be wrong with a weight file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsProblem {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is of no known format, cut short or damaged.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The tensors cannot be written.
    #[error("{0}")]
    Write(#[from] SafeTensorError),
    /// It was not written by this project, and the caller did not say what is in it.
    #[error(
        "{format} without configuration: say which network and pixels it is for (`--preset` and `--preprocess`)"
    )]
    NoConfiguration {
        /// The file's format.
        format: Format,
    },
    /// It was written by this project, and the caller says what is in it nevertheless.
    #[error(
        "says itself which network and pixels it is for: leave out `--preset` and `--preprocess`"
    )]
    HasConfiguration,
    /// Its tensors are not those of the network that the caller named.
    #[error("{0}")]
    Import(#[from] ImportError),
    /// The metadata cannot be understood.
    #[error("metadata entry `{METADATA_KEY}`: {0}")]
    Metadata(#[from] serde_json::Error),
    /// It was written by a later version of this project.
    #[error("metadata schema {found}, this version reads {SCHEMA}")]
    Schema {
        /// The version found.
        found: u32,
    },
    /// The configuration describes no network.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The preprocessing cannot work.
    #[error("{0}")]
    Preprocess(#[from] PreprocessError),
    /// The preprocessing makes images too small for the network.
    #[error("preprocessing to {size} pixels, the network needs {smallest}")]
    TooSmall {
        /// Side of the images in pixels.
        size: u32,
        /// The smallest side that the network takes.
        smallest: usize,
    },
    /// The file does not exist, and no built-in weights have this name.
    #[error("no such file, and no built-in weights of that name ({known})")]
    NotFound {
        /// Names of the built-in weights.
        known: String,
    },
    /// Labels and classes differ in number.
    #[error("{labels} labels for {classes} classes")]
    Labels {
        /// Number of labels.
        labels: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The tensors are not those of the configuration.
    #[error("{0}")]
    State(#[from] StateError),
    /// They cannot be folded for inference.
    #[error("{0}")]
    Fold(#[from] FoldError),
}

/// Writes `model` and `metadata` to `path`, atomically: a reader sees the old file or the new one, never a part.
///
/// # Errors
/// [`WeightsError`] if the file cannot be written, or the labels do not match the classes.
pub fn save(
    path: &Path,
    model: &Model,
    metadata: &Metadata,
    precision: Precision,
) -> Result<(), WeightsError> {
    let write = || -> Result<(), WeightsProblem> {
        atomic::write(path, &to_bytes(model, metadata, precision)?)?;
        Ok(())
    };
    write().map_err(|problem| at(path, problem))
}

/// Reads a model and its metadata from a file written by [`save`].
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn load(path: &Path, device: &Device) -> Result<(Model, Metadata), WeightsError> {
    let parts = read_file(path, None, device)?;
    model(path, parts, device)
}

/// Reads the weights called `name` that come with this project, or else the file at the path `name`.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn open(name: &str, device: &Device) -> Result<(Model, Metadata), WeightsError> {
    model(Path::new(name), read(name, None, device)?, device)
}

/// Reads a file of another project: PyTorch, ONNX, MXNet, Caffe, safetensors or burnpack, told by its content.
/// `import` says what such files do not.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn open_as(
    name: &str,
    import: &Import,
    device: &Device,
) -> Result<(Model, Metadata), WeightsError> {
    model(Path::new(name), read(name, Some(import), device)?, device)
}

fn model(
    path: &Path,
    (state, metadata): (State, Metadata),
    device: &Device,
) -> Result<(Model, Metadata), WeightsError> {
    let model = state::load_state(metadata.config.blank(device), state);
    Ok((model.map_err(|error| at(path, error.into()))?, metadata))
}

/// [`open`], folded for inference. No unfolded model is made on the way: it takes less time and memory than
/// [`Model::fold`] of an opened one.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it, or with the engine's options.
pub fn open_folded(
    name: &str,
    device: &Device,
    options: &EngineOptions,
) -> Result<(FoldedModel, Metadata), WeightsError> {
    folded(name, read(name, None, device)?, device, options)
}

/// [`open_as`], folded for inference.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it, or with the engine's options.
pub fn open_folded_as(
    name: &str,
    import: &Import,
    device: &Device,
    options: &EngineOptions,
) -> Result<(FoldedModel, Metadata), WeightsError> {
    folded(name, read(name, Some(import), device)?, device, options)
}

fn folded(
    name: &str,
    (state, metadata): (State, Metadata),
    device: &Device,
    options: &EngineOptions,
) -> Result<(FoldedModel, Metadata), WeightsError> {
    let model = FoldedModel::new(&metadata.config, state, device, options);
    Ok((
        model.map_err(|error| at(Path::new(name), error.into()))?,
        metadata,
    ))
}

fn read(
    name: &str,
    import: Option<&Import>,
    device: &Device,
) -> Result<(State, Metadata), WeightsError> {
    let path = Path::new(name);
    match bn_inception_weights::named(name) {
        Some(entry) => parse(entry.bytes, import, device).map_err(|problem| at(path, problem)),
        None if !path.exists() => {
            let known = bn_inception_weights::ENTRIES.iter().map(|entry| entry.name);
            let known = known.collect::<Vec<_>>().join(", ");
            Err(at(path, WeightsProblem::NotFound { known }))
        }
        None => read_file(path, import, device),
    }
}

fn read_file(
    path: &Path,
    import: Option<&Import>,
    device: &Device,
) -> Result<(State, Metadata), WeightsError> {
    let bytes = std::fs::read(path).map_err(|error| at(path, error.into()))?;
    parse(&bytes, import, device).map_err(|problem| at(path, problem))
}

fn at(path: &Path, problem: WeightsProblem) -> WeightsError {
    let path = path.to_owned();
    WeightsError { path, problem }
}

fn to_bytes(
    model: &Model,
    metadata: &Metadata,
    precision: Precision,
) -> Result<Vec<u8>, WeightsProblem> {
    check_labels(metadata)?;
    let header = Header {
        schema: SCHEMA,
        metadata: metadata.clone(),
    };
    let entries = HashMap::from([(METADATA_KEY.to_owned(), serde_json::to_string(&header)?)]);
    let mut tensors = Vec::new();
    for (name, data) in state::state(model) {
        let halved = precision == Precision::Half && TensorRole::of(&name) == TensorRole::Weight;
        let shape = data.shape().to_vec();
        let values = data.iter::<f32>();
        let (dtype, bytes) = match halved {
            true => (
                Dtype::F16,
                values
                    .flat_map(|v| f16::from_f32(v).to_le_bytes())
                    .collect(),
            ),
            false => (
                Dtype::F32,
                values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>(),
            ),
        };
        tensors.push((name, dtype, shape, bytes));
    }
    let mut views = Vec::with_capacity(tensors.len());
    for (name, dtype, shape, bytes) in &tensors {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes)?));
    }
    Ok(safetensors::serialize(views, Some(entries))?)
}

fn parse(
    bytes: &[u8],
    import: Option<&Import>,
    device: &Device,
) -> Result<(State, Metadata), WeightsProblem> {
    let archive = formats::read(bytes)?;
    let format = archive.format;
    match (archive.metadata.get(METADATA_KEY).cloned(), import) {
        (Some(json), None) => own(archive, &json),
        (Some(_), Some(_)) => Err(WeightsProblem::HasConfiguration),
        (None, Some(import)) => {
            check_preprocess(&import.preprocess, &import.config)?;
            Ok(import::state(archive, import, device)?)
        }
        (None, None) => Err(WeightsProblem::NoConfiguration { format }),
    }
}

/// A file with [`Metadata`].
fn own(archive: Archive, json: &str) -> Result<(State, Metadata), WeightsProblem> {
    let Header { schema, metadata } = serde_json::from_str(json)?;
    if schema != SCHEMA {
        return Err(WeightsProblem::Schema { found: schema });
    }
    metadata.config.validate()?;
    check_preprocess(&metadata.preprocess, &metadata.config)?;
    check_labels(&metadata)?;
    let tensors = archive.tensors.into_iter();
    let state = tensors.map(|(name, array)| (name, import::data(array)));
    Ok((state.collect(), metadata))
}

fn check_preprocess(
    preprocess: &Preprocess,
    config: &BnInceptionConfig,
) -> Result<(), WeightsProblem> {
    preprocess.check()?;
    let (size, smallest) = (preprocess.size, config.smallest_input());
    match size as usize >= smallest {
        true => Ok(()),
        false => Err(WeightsProblem::TooSmall { size, smallest }),
    }
}

fn check_labels(metadata: &Metadata) -> Result<(), WeightsProblem> {
    let (labels, classes) = (metadata.labels.len(), metadata.config.classes);
    match labels == classes {
        true => Ok(()),
        false => Err(WeightsProblem::Labels { labels, classes }),
    }
}
