//! The one way from a file to a network, and back.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;
use bn_inception_fetch::Store;
use bn_inception_formats as formats;
use burn::tensor::{Device, TensorData};

use super::error::{Proposal, WeightsError, WeightsProblem};
use super::export::{self, ExportError, FeatureEnd, Precision};
use super::import::{self, Import};
use super::metadata::{self, Metadata, MetadataError};
use super::names::Names;
use super::registry;
use crate::config::{ConfigError, StemKind};
use crate::fold::fold;
use crate::folded::{EngineOptions, FoldedModel};
use crate::model::Model;
use crate::pool::Pooling;
use crate::state::{self, State};

/// The tensors of a network with their metadata, before they are on a device. The tensors are exactly those of the
/// configuration, and the metadata is valid: both are checked once, on construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    state: State,
    metadata: Metadata,
    /// The file they were read from, for messages.
    path: Option<PathBuf>,
}

impl Weights {
    /// The weights that the [registry] calls `name`, downloaded into the user's cache if necessary, or else the file at
    /// the path `name`. A file of another project needs an `import` that describes its content; other files must not
    /// have one.
    ///
    /// # Errors
    /// [`WeightsError`], which names the file and the problem.
    pub fn open(name: impl AsRef<Path>, import: Option<&Import>) -> Result<Self, WeightsError> {
        Self::open_from(&Store::new(), name, import)
    }

    /// [`Self::open`] with another cache, which may also be offline or report progress.
    ///
    /// # Errors
    /// [`WeightsError`], which names the file and the problem.
    pub fn open_from(store: &Store, name: impl AsRef<Path>, import: Option<&Import>) -> Result<Self, WeightsError> {
        let path = name.as_ref();
        let read = || match path.to_str().and_then(registry::named) {
            Some(entry) => published(entry, import, store),
            None if !path.exists() => {
                let known = registry::entries().iter().map(|entry| entry.name.as_str());
                let known = known.collect::<Vec<_>>().join(", ");
                Err(WeightsProblem::NotFound { known })
            }
            None => parse(std::fs::read(path)?, path.parent(), import),
        };
        let weights = read().map_err(|problem| WeightsError::new(Some(path), problem))?;
        Ok(Self { path: Some(path.to_owned()), ..weights })
    }

    /// The weights in the content of a file that [`Self::open`] would accept.
    ///
    /// # Errors
    /// [`WeightsError`], which names no file.
    pub fn from_bytes(bytes: impl AsRef<[u8]>, import: Option<&Import>) -> Result<Self, WeightsError> {
        parse(bytes, None, import).map_err(|problem| WeightsError::new(None, problem))
    }

    /// The weights of `model`, copied to the host, with their metadata.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_model(model: &Model, metadata: Metadata) -> Result<Self, WeightsError> {
        Self::new(model.state(), metadata)
    }

    /// Weights with the tensors of `state`, folded ([`FoldedModel::state`]) or not.
    ///
    /// # Errors
    /// [`WeightsProblem::Metadata`] if labels, preprocessing and configuration do not fit one another,
    /// [`WeightsProblem::State`] if the tensors are not those of the configuration.
    pub fn new(state: State, metadata: Metadata) -> Result<Self, WeightsError> {
        checked(state, metadata).map_err(|problem| WeightsError::new(None, problem))
    }

    /// The network, its images and its classes.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors by name.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The network, for training and inference.
    pub fn model(self, device: &Device) -> (Model, Metadata) {
        let blank = self.metadata.config.blank(device);
        (state::fill(blank, self.state), self.metadata)
    }

    /// The network folded for inference. No unfolded model is created on the way: it takes less time and memory than
    /// [`Model::fold`]. `options` are for the CPU engine.
    ///
    /// # Errors
    /// [`WeightsProblem::Engine`] if the engine rejects the options.
    pub fn folded(self, device: &Device, options: &EngineOptions) -> Result<(FoldedModel, Metadata), WeightsError> {
        let model = FoldedModel::of_checked(&self.metadata.config, self.state, device, options);
        let model = model.map_err(|error| WeightsError::new(self.path.as_deref(), error))?;
        Ok((model, self.metadata))
    }

    /// The same network with every batch normalisation merged into the convolution before it, for inference only.
    pub fn fold(mut self) -> Self {
        (self.metadata.config, self.state) = fold(&self.metadata.config, self.state);
        self
    }

    /// The same weights with other names of the classes.
    ///
    /// # Errors
    /// [`WeightsProblem::Metadata`] unless there are as many as classes.
    pub fn with_labels(mut self, labels: Vec<String>) -> Result<Self, WeightsError> {
        self.metadata.labels = labels;
        let checked = self.metadata.check();
        checked.map_err(|error| WeightsError::new(self.path.as_deref(), error))?;
        Ok(self)
    }

    /// The same weights with another temperature of the probabilities.
    ///
    /// # Errors
    /// [`WeightsProblem::Metadata`] unless it is a positive number.
    pub fn with_temperature(mut self, temperature: f64) -> Result<Self, WeightsError> {
        self.metadata.temperature = Some(temperature);
        let checked = self.metadata.check();
        checked.map_err(|error| WeightsError::new(self.path.as_deref(), error))?;
        Ok(self)
    }

    /// The same network for inputs of `channels` channels: each filter of the first convolution becomes its mean over
    /// the input channels, once for each of the new ones. This is how temporal segment networks start from RGB for
    /// optical flow (`_construct_flow_model` of tsn-pytorch); nothing is rescaled. With as many channels as before,
    /// the filters are kept.
    ///
    /// # Errors
    /// [`WeightsProblem::Metadata`] unless `channels` is 1 to 64 and the first convolution an ordinary one.
    pub fn with_input_channels(mut self, channels: usize) -> Result<Self, WeightsError> {
        let before = self.metadata.config.image_channels();
        if channels == before {
            return Ok(self);
        }
        self.metadata.config.input_channels = Some(channels).filter(|channels| *channels != 3);
        let stem = self.metadata.config.stem;
        let plain = || match stem {
            StemKind::Plain => self.metadata.config.validate(),
            _ => Err(ConfigError { field: "stem", found: format!("{stem:?}"), expected: "Plain" }),
        };
        plain().map_err(|error| WeightsError::new(self.path.as_deref(), MetadataError::Config(error)))?;
        if let Some(filters) = self.state.get_mut("stem.conv1.weight") {
            *filters = repeated_mean(filters, channels);
        }
        Ok(self)
    }

    /// True unless the last layer is newly drawn, because the file had none: such weights are for fine-tuning, and for
    /// [features](Model::features).
    pub fn has_classifier(&self) -> bool {
        !self.metadata.facts.contains_key(import::DRAWN_HEAD)
    }

    /// A safetensors file with all of the metadata in one entry.
    ///
    /// # Errors
    /// [`ExportError::Name`] if `names` has none for a tensor.
    pub fn to_safetensors(&self, precision: Precision, names: Names) -> Result<Vec<u8>, ExportError> {
        export::safetensors(&self.state, &self.metadata, precision, names)
    }

    /// The same as a burnpack file, Burn's own container.
    ///
    /// # Errors
    /// [`ExportError::Name`] if `names` has none for a tensor.
    pub fn to_burnpack(&self, precision: Precision, names: Names) -> Result<Vec<u8>, ExportError> {
        export::burnpack(&self.state, &self.metadata, precision, names)
    }

    /// An ONNX file: `images` `[batch, C, S, S]` (C is 3 for colour images) → `logits` `[batch, classes]`, for batches of
    /// any size; S is the configuration's input size.
    ///
    /// The input size is fixed because padding depends on it: an overhanging pool (Caffe) and TensorFlow's `SAME` pad
    /// odd and even sizes differently, and the graph holds the resulting numbers. Initializers have this project's
    /// names, and the metadata is included, so [`Weights::open`] reads the file back. ONNX's batch normalisation always
    /// has a γ; in a network without one it is 1, and the configuration in the file says that there is one.
    ///
    /// # Errors
    /// [`ExportError::Metadata`] if the metadata cannot be written.
    pub fn into_onnx(self) -> Result<Vec<u8>, ExportError> {
        export::onnx(self.state, self.metadata, None)
    }

    /// An ONNX file of the same network up to a pooled end point, as [`FoldedModel::embed`] computes it: `images`
    /// `[batch, C, S, S]` → `features` `[batch, C']`. The metadata is that of the whole network. The file is for other
    /// programs: without a last layer [`Weights::open`] cannot read it back.
    ///
    /// # Errors
    /// [`ExportError::EndPoint`] if the network has no such end point, [`ExportError::Metadata`] if the metadata cannot
    /// be written.
    pub fn into_onnx_features(self, end_point: &str, pooling: Pooling) -> Result<Vec<u8>, ExportError> {
        export::onnx(self.state, self.metadata, Some(&FeatureEnd { end_point, pooling }))
    }

    /// Writes a safetensors file to `path`, atomically: a reader sees the old file or the new one, never a part.
    ///
    /// # Errors
    /// [`WeightsProblem::Io`] if the file cannot be written, or `path` exists and is not a regular file: a device, say,
    /// which would be replaced.
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision) -> Result<(), WeightsError> {
        let path = path.as_ref();
        let write = || -> Result<(), WeightsProblem> {
            let bytes = self.to_safetensors(precision, Names::Own)?;
            if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                let message = "it exists and is not a regular file";
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))?;
            }
            let mut file = AtomicWriteFile::open(path)?;
            file.write_all(&bytes)?;
            Ok(file.commit()?)
        };
        write().map_err(|problem| WeightsError::new(Some(path), problem))
    }
}

fn checked(state: State, metadata: Metadata) -> Result<Weights, WeightsProblem> {
    metadata.check()?;
    state::check(&metadata.config.tensors(), &state)?;
    Ok(Weights { state, metadata, path: None })
}

/// Filters `[O, I, k, k]` as `[O, channels, k, k]`: the means over I, repeated.
fn repeated_mean(filters: &TensorData, channels: usize) -> TensorData {
    let mut shape = filters.shape().to_vec();
    let (before, plane) = (shape[1], shape[2..].iter().product::<usize>());
    let values: Vec<f32> = filters.iter::<f32>().collect();
    let mut means = Vec::with_capacity(shape[0] * channels * plane);
    for filter in values.chunks_exact(before * plane) {
        let sum = |at: usize| filter.iter().skip(at).step_by(plane).map(|value| f64::from(*value)).sum::<f64>();
        let mean: Vec<f32> = (0..plane).map(|at| (sum(at) / before as f64) as f32).collect();
        means.extend(mean.repeat(channels));
    }
    shape[1] = channels;
    TensorData::new(means, shape)
}

/// The weights of `entry`. `import` must be `None`, because the registry describes the file.
fn published(entry: &registry::Entry, import: Option<&Import>, store: &Store) -> Result<Weights, WeightsProblem> {
    if import.is_some() {
        return Err(WeightsProblem::HasConfiguration);
    }
    let Some(source) = entry.source() else {
        return parse(entry.built_in().ok_or(WeightsProblem::NotBuiltIn)?, None, None);
    };
    let mut weights = parse(store.bytes(&source)?, None, Some(&entry.import()))?;
    weights.metadata.labels = entry.labels.names();
    weights.metadata.facts.extend(entry.facts());
    Ok(weights)
}

/// The weights in the content of a file in `folder`. Consumes the bytes, to free them before the tensors are converted:
/// one copy of the weights less at the peak.
fn parse(bytes: impl AsRef<[u8]>, folder: Option<&Path>, import: Option<&Import>) -> Result<Weights, WeightsProblem> {
    let archive = match folder {
        Some(folder) => formats::read_beside(bytes.as_ref(), folder)?,
        None => formats::read(bytes.as_ref())?,
    };
    drop(bytes);
    match (archive.metadata.get(metadata::KEY), import) {
        (Some(entry), None) => {
            let mut metadata = Metadata::from_entry(entry)?;
            if archive.tensors.contains_key("stem.conv1.weight") {
                let tensors = archive.tensors.into_iter();
                let state = tensors.map(|(name, array)| (name, import::data(array)));
                return checked(state.collect(), metadata);
            }
            // Written with the names of another project.
            metadata.check()?;
            let import = Import {
                classes: Some(metadata.config.classes),
                ..Import::new(metadata.config, metadata.preprocess.clone())
            };
            let (state, imported) = import::restore(archive, &import)?;
            metadata.config = imported.config;
            Ok(Weights { state, metadata, path: None })
        }
        (Some(_), Some(_)) => Err(WeightsProblem::HasConfiguration),
        (None, Some(import)) => {
            metadata::check_preprocess(&import.preprocess, &import.config)?;
            let (state, metadata) = import::read(archive, import)?;
            Ok(Weights { state, metadata, path: None })
        }
        (None, None) => {
            let format = archive.format;
            let proposal = import::named_by(archive).and_then(|naming| {
                let (preset, preprocess) = (naming.presets.first()?, naming.preprocess?);
                let names = naming.source;
                Some(Proposal { names, preset: *preset, preprocess })
            });
            Err(WeightsProblem::NoConfiguration { format, proposal })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::registry::{Labels, entries};

    #[test]
    fn the_built_in_file_says_the_same_as_its_entry() {
        for entry in entries() {
            let Some(bytes) = entry.built_in() else {
                continue;
            };
            let archive = formats::read(bytes).unwrap();
            assert_eq!(archive.format, entry.format);
            let Weights { metadata, .. } = Weights::from_bytes(bytes, None).unwrap();
            let import = entry.import();
            let config = import.config.with_classes(entry.classes);
            let config = config.with_input_size(metadata.config.input_size);
            assert_eq!(metadata.config, config);
            assert_eq!(metadata.preprocess, import.preprocess);
            assert_eq!(Labels::Listed(metadata.labels), entry.labels);
        }
    }
}
