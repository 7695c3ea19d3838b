//! Metadata of a weight file: the network, its images and its classes.

use serde::{Deserialize, Serialize};

use crate::config::{BnInceptionConfig, ConfigError};
use bn_inception_data::{Preprocess, PreprocessError};

/// Key of the metadata entry. One entry instead of several, because safetensors writes them in random order.
pub(crate) const KEY: &str = "bn_inception";

/// Version of [`Metadata`]'s layout.
const SCHEMA: u32 = 1;

/// Content of a weight file besides its tensors. It is stored as JSON in one metadata entry, `bn_inception`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The network the tensors belong to.
    pub config: BnInceptionConfig,
    /// Preparation of an image before it enters the network.
    pub preprocess: Preprocess,
    /// Names of the classes, in the order of the logits.
    pub labels: Vec<String>,
    /// Temperature of the probabilities, which logits are divided by (Guo et al. 2017, *On Calibration of Modern Neural
    /// Networks*, section 4.2); `None` is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Origin of the weights: recipe, data, accuracy, licence, … free-form.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// The metadata entry.
#[derive(Serialize, Deserialize)]
struct Header {
    schema: u32,
    #[serde(flatten)]
    metadata: Metadata,
}

/// Metadata that describes no network.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The entry cannot be parsed.
    #[error("metadata entry `{KEY}`: {0}")]
    Json(#[from] serde_json::Error),
    /// It was written by a later version of this project.
    #[error("metadata schema {found}, this version reads {SCHEMA}")]
    Schema {
        /// The version found.
        found: u32,
    },
    /// The configuration describes no network.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The preprocessing is invalid.
    #[error("{0}")]
    Preprocess(#[from] PreprocessError),
    /// The preprocessing makes images too small for the network.
    #[error("preprocessing to {size} pixels, the network needs {smallest}")]
    TooSmall {
        /// Side of the images in pixels.
        size: u32,
        /// The smallest side that the network accepts.
        smallest: usize,
    },
    /// The temperature is not a positive number.
    #[error("temperature {found}, expected a positive number")]
    Temperature {
        /// The number found.
        found: f64,
    },
    /// Labels and classes differ in number.
    #[error("{labels} labels for {classes} classes")]
    Labels {
        /// Number of labels.
        labels: usize,
        /// Number of classes.
        classes: usize,
    },
}

impl Metadata {
    /// Reads the metadata entry of a file.
    pub(crate) fn from_entry(json: &str) -> Result<Self, MetadataError> {
        let Header { schema, metadata } = serde_json::from_str(json)?;
        if schema != SCHEMA {
            return Err(MetadataError::Schema { found: schema });
        }
        Ok(metadata)
    }

    /// The metadata entry of a file.
    pub(crate) fn to_entry(&self) -> serde_json::Result<String> {
        let metadata = self.clone();
        serde_json::to_string(&Header { schema: SCHEMA, metadata })
    }

    pub(crate) fn check(&self) -> Result<(), MetadataError> {
        self.config.validate()?;
        check_preprocess(&self.preprocess, &self.config)?;
        if let Some(found) = self.temperature.filter(|temperature| !(temperature.is_finite() && *temperature > 0.0)) {
            return Err(MetadataError::Temperature { found });
        }
        let (labels, classes) = (self.labels.len(), self.config.classes);
        if labels == classes { Ok(()) } else { Err(MetadataError::Labels { labels, classes }) }
    }
}

/// Checks that `preprocess` makes images that the network of `config` accepts.
pub(crate) fn check_preprocess(preprocess: &Preprocess, config: &BnInceptionConfig) -> Result<(), MetadataError> {
    preprocess.check()?;
    let (size, smallest) = (preprocess.size, config.smallest_input());
    if size as usize >= smallest { Ok(()) } else { Err(MetadataError::TooSmall { size, smallest }) }
}
