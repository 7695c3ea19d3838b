//! Weight files: safetensors with everything inside that is needed to use them.
//!
//! The tensors carry the names of [`state`]. One metadata entry, `bn_inception`, holds [`Metadata`]
//! as JSON: configuration, preprocessing, class labels and facts about the training.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::config::{BnInceptionConfig, ConfigError};
use crate::folded::{EngineOptions, FoldError, FoldedModel};
use crate::model::Model;
use crate::preprocess::{Preprocess, PreprocessError};
use crate::state::{self, State, StateError, TensorRole};

/// Key of the metadata entry. One entry and not several, because safetensors writes them in random order.
pub(crate) const METADATA_KEY: &str = "bn_inception";

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
}

/// What can be wrong with a weight file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsProblem {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is not safetensors, or is cut short.
    #[error("not a whole safetensors file: {0}")]
    Format(#[from] SafeTensorError),
    /// It is safetensors, but was not written by this project.
    #[error("no `{METADATA_KEY}` entry in the metadata: not weights written by this project")]
    NoMetadata,
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
    /// A tensor is neither `F32` nor `F16`.
    #[error("tensor `{name}` holds {found:?}, expected F32 or F16")]
    Dtype {
        /// Name of the tensor.
        name: String,
        /// Its element type.
        found: Dtype,
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
    let (state, metadata) = read_file(path)?;
    let model = state::load_state(metadata.config.blank(device), state);
    Ok((model.map_err(|error| at(path, error.into()))?, metadata))
}

/// Reads the weights called `name` that come with this project, or else the file at the path `name`.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn open(name: &str, device: &Device) -> Result<(Model, Metadata), WeightsError> {
    let (state, metadata) = read(name)?;
    let model = state::load_state(metadata.config.blank(device), state);
    Ok((
        model.map_err(|error| at(Path::new(name), error.into()))?,
        metadata,
    ))
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
    let (state, metadata) = read(name)?;
    let model = FoldedModel::new(&metadata.config, state, device, options);
    Ok((
        model.map_err(|error| at(Path::new(name), error.into()))?,
        metadata,
    ))
}

fn read(name: &str) -> Result<(State, Metadata), WeightsError> {
    let path = Path::new(name);
    match bn_inception_weights::named(name) {
        Some(entry) => {
            parse(entry.built_in().unwrap_or_default()).map_err(|problem| at(path, problem))
        }
        None if !path.exists() => {
            let known = bn_inception_weights::entries().iter();
            let known = known.map(|entry| entry.name.as_str());
            let known = known.collect::<Vec<_>>().join(", ");
            Err(at(path, WeightsProblem::NotFound { known }))
        }
        None => read_file(path),
    }
}

fn read_file(path: &Path) -> Result<(State, Metadata), WeightsError> {
    let bytes = std::fs::read(path).map_err(|error| at(path, error.into()))?;
    parse(&bytes).map_err(|problem| at(path, problem))
}

fn at(path: &Path, problem: WeightsProblem) -> WeightsError {
    let path = path.to_owned();
    WeightsError { path, problem }
}

/// The content of the metadata entry.
pub(crate) fn header(metadata: &Metadata) -> serde_json::Result<String> {
    let header = Header {
        schema: SCHEMA,
        metadata: metadata.clone(),
    };
    serde_json::to_string(&header)
}

fn to_bytes(
    model: &Model,
    metadata: &Metadata,
    precision: Precision,
) -> Result<Vec<u8>, WeightsProblem> {
    check_labels(metadata)?;
    let entries = HashMap::from([(METADATA_KEY.to_owned(), header(metadata)?)]);
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

fn parse(bytes: &[u8]) -> Result<(State, Metadata), WeightsProblem> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let entries = header.metadata().as_ref();
    let json = entries.and_then(|entries| entries.get(METADATA_KEY));
    let Header { schema, metadata } =
        serde_json::from_str(json.ok_or(WeightsProblem::NoMetadata)?)?;
    if schema != SCHEMA {
        return Err(WeightsProblem::Schema { found: schema });
    }
    metadata.config.validate()?;
    metadata.preprocess.check()?;
    let (size, smallest) = (metadata.preprocess.size, metadata.config.smallest_input());
    if (size as usize) < smallest {
        return Err(WeightsProblem::TooSmall { size, smallest });
    }
    check_labels(&metadata)?;
    let file = SafeTensors::deserialize(bytes)?;
    let mut state = State::new();
    for (name, view) in file.iter() {
        state.insert(name.to_owned(), tensor(name, &view)?);
    }
    Ok((state, metadata))
}

fn check_labels(metadata: &Metadata) -> Result<(), WeightsProblem> {
    let (labels, classes) = (metadata.labels.len(), metadata.config.classes);
    match labels == classes {
        true => Ok(()),
        false => Err(WeightsProblem::Labels { labels, classes }),
    }
}

fn tensor(name: &str, view: &TensorView<'_>) -> Result<TensorData, WeightsProblem> {
    let bytes = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|word| f32::from_le_bytes(*word)).collect()
        }
        Dtype::F16 => {
            let words = bytes.as_chunks::<2>().0.iter();
            words
                .map(|word| f16::from_le_bytes(*word).to_f32())
                .collect()
        }
        found => {
            let name = name.to_owned();
            return Err(WeightsProblem::Dtype { name, found });
        }
    };
    Ok(TensorData::new(values, view.shape().to_vec()))
}
