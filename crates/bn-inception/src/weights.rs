//! Weight files: safetensors with everything inside that is needed to use them, and files of other projects.
//!
//! The tensors carry the names of [`BnInceptionConfig::tensors`]. One metadata entry, `bn_inception`, holds [`Metadata`]
//! as JSON: configuration, preprocessing, class labels and facts about the training.

use std::path::{Path, PathBuf};

use bn_inception_formats::{self as formats, Archive, Format, ReadError};
pub use bn_inception_weights as registry;
use bn_inception_weights::FetchError;
pub use bn_inception_weights::Store;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::config::{BnInceptionConfig, ConfigError};
use crate::export::{self, ExportError};
use crate::folded::{EngineOptions, FoldError, FoldedModel};
use crate::import::{self, Import, ImportError, Names};
use crate::model::Model;
use crate::preprocess::{Preprocess, PreprocessError};
use crate::preset::UnknownPreset;
use crate::state::{State, StateError};

mod named;

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
    problem: Box<WeightsProblem>,
}

impl WeightsError {
    /// The file, or the name of the weights.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &WeightsProblem {
        &self.problem
    }

    /// What is wrong with it, by value.
    pub fn into_problem(self) -> WeightsProblem {
        *self.problem
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
    Export(#[from] ExportError),
    /// The file behind the name cannot be had.
    #[error("{0}")]
    Fetch(#[from] FetchError),
    /// The registry names a network that does not exist.
    #[error("{0}")]
    Preset(#[from] UnknownPreset),
    /// It was not written by this project, and the caller did not say what is in it.
    #[error(
        "{format} without configuration: say which network and pixels it is for (`--preset` and `--preprocess`), here or once for all in `convert`"
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
    /// The file does not exist, and no weights have this name.
    #[error("no such file, and no weights of that name ({known})")]
    NotFound {
        /// The names there are.
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
        check_labels(metadata)?;
        let bytes = export::safetensors(&model.state(), metadata, precision, Names::Own)?;
        Ok(atomic::write(path, &bytes)?)
    };
    write().map_err(|problem| at(path, problem))
}

/// The tensors of a network and all that is known about them, before they are on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The tensors by name.
    pub state: State,
    /// The network they belong to, its images and its classes.
    pub metadata: Metadata,
    path: PathBuf,
}

impl Weights {
    /// The network, for training and inference.
    ///
    /// # Errors
    /// [`WeightsError`] if the tensors are not those of the configuration.
    pub fn model(self, device: &Device) -> Result<(Model, Metadata), WeightsError> {
        let model = self.metadata.config.load(self.state, device);
        Ok((
            model.map_err(|error| at(&self.path, error.into()))?,
            self.metadata,
        ))
    }

    /// The network folded for inference. No unfolded model is made on the way: it takes less time and memory than
    /// [`Model::fold`].
    ///
    /// # Errors
    /// [`WeightsError`] if the tensors are not those of the configuration, or something is wrong with the options.
    pub fn folded(
        self,
        device: &Device,
        options: &EngineOptions,
    ) -> Result<(FoldedModel, Metadata), WeightsError> {
        let model = FoldedModel::new(&self.metadata.config, self.state, device, options);
        Ok((
            model.map_err(|error| at(&self.path, error.into()))?,
            self.metadata,
        ))
    }
}

/// The weights that the [`registry`] calls `name`, taken from `store` and downloaded into it if need be, or else the
/// file at the path `name`: of this project, or, where `import` says what is in it, of another one (PyTorch, ONNX,
/// MXNet, Caffe, safetensors or burnpack, told by its content).
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn find(name: &str, import: Option<&Import>, store: &Store) -> Result<Weights, WeightsError> {
    let path = Path::new(name);
    let parts = match registry::named(name) {
        Some(entry) => named::read(entry, import, store),
        None if !path.exists() => {
            let known = registry::entries().iter().map(|entry| entry.name.as_str());
            let known = known.collect::<Vec<_>>().join(", ");
            Err(WeightsProblem::NotFound { known })
        }
        None => read_file(path, import),
    };
    weights(path, parts)
}

/// Reads a model and its metadata from a file written by [`save`].
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn load(path: &Path, device: &Device) -> Result<(Model, Metadata), WeightsError> {
    weights(path, read_file(path, None))?.model(device)
}

/// The weights called `name`, or the file of this project at that path, as [`find`] finds them.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn open(name: &str, device: &Device) -> Result<(Model, Metadata), WeightsError> {
    find(name, None, &Store::new())?.model(device)
}

/// A file of another project, as [`find`] finds it.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn open_as(
    name: &str,
    import: &Import,
    device: &Device,
) -> Result<(Model, Metadata), WeightsError> {
    find(name, Some(import), &Store::new())?.model(device)
}

/// [`open`], folded for inference.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it, or with the engine's options.
pub fn open_folded(
    name: &str,
    device: &Device,
    options: &EngineOptions,
) -> Result<(FoldedModel, Metadata), WeightsError> {
    find(name, None, &Store::new())?.folded(device, options)
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
    find(name, Some(import), &Store::new())?.folded(device, options)
}

fn read_file(path: &Path, import: Option<&Import>) -> Result<(State, Metadata), WeightsProblem> {
    parse(std::fs::read(path)?, import)
}

fn weights(
    path: &Path,
    parts: Result<(State, Metadata), WeightsProblem>,
) -> Result<Weights, WeightsError> {
    let (state, metadata) = parts.map_err(|problem| at(path, problem))?;
    Ok(Weights {
        state,
        metadata,
        path: path.to_owned(),
    })
}

fn at(path: &Path, problem: WeightsProblem) -> WeightsError {
    let (path, problem) = (path.to_owned(), Box::new(problem));
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

/// Takes the bytes to free them before the tensors are worked on: one copy of the weights less at the peak.
fn parse(
    bytes: impl AsRef<[u8]>,
    import: Option<&Import>,
) -> Result<(State, Metadata), WeightsProblem> {
    let archive = formats::read(bytes.as_ref())?;
    drop(bytes);
    let format = archive.format;
    match (archive.metadata.get(METADATA_KEY).cloned(), import) {
        (Some(json), None) => own(archive, &json),
        (Some(_), Some(_)) => Err(WeightsProblem::HasConfiguration),
        (None, Some(import)) => {
            check_preprocess(&import.preprocess, &import.config)?;
            Ok(import::state(archive, import)?)
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
    if !archive.tensors.contains_key("stem.conv1.weight") {
        // Written with the names of another project.
        let import = Import::new(metadata.config.clone(), metadata.preprocess.clone());
        let (state, _) = import::state(archive, &import)?;
        return Ok((state, metadata));
    }
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
