//! Fine-tuning: a run that starts from trained weights and learns other classes.
//!
//! The network, its preprocessing and all of its weights but the classifier's come from those weights. The part up to
//! an end point of the user's choice may be frozen; what is behind it and the new classifier learn at two rates.

use std::path::{Path, PathBuf};

use bn_inception::weights::{self, Metadata, WeightsError};
use bn_inception::{BnInceptionConfig, ConfigError, Model, OpenDevice, Preprocess};
use serde::{Deserialize, Serialize};

use crate::drawn::DrawnConfig;
use crate::parameters::NamedTensors;

/// Tensors of the classifier, which starts anew and learns at a rate of its own.
const HEAD: &str = "classifier.";
/// How much faster than the rest the classifier learns unless the user says otherwise.
pub(crate) const HEAD_FACTOR: f64 = 10.0;

/// What a run takes from the weights it starts from, and how it treats them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FineTune {
    /// Name or path of the weights. A resumed run does not need them any more.
    pub weights: String,
    /// The end point up to which the network is frozen; `None` trains all of it.
    pub freeze: Option<String>,
    /// Learning rate of what is neither frozen nor the classifier, before the schedule's factor.
    pub lr: f64,
    /// Learning rate of the classifier, before the schedule's factor.
    pub head_lr: f64,
    /// The weights' network, with its own number of classes.
    pub network: BnInceptionConfig,
    /// What is done to images, now as when the weights were trained.
    pub preprocess: Preprocess,
}

/// A network with the weights that a run starts from.
pub(crate) struct Base {
    pub model: Model,
    pub metadata: Metadata,
}

impl Base {
    /// The built-in weights called `weights`, or the file at that path, for training on `device`.
    pub(crate) fn open(weights: &str, device: &OpenDevice) -> Result<Self, WeightsError> {
        let device = device.device.clone().autodiff();
        let (model, metadata) = weights::open(weights, &device)?;
        Ok(Self { model, metadata })
    }

    /// The network with a new classifier for `classes` classes.
    pub(crate) fn start(self, classes: usize, seed: u64) -> Result<Model, ConfigError> {
        self.model.with_classes_seeded(classes, seed)
    }
}

impl FineTune {
    /// The images drawn for a run without data of its own: few, of few classes, at the weights' size.
    pub(crate) fn drawn(&self) -> DrawnConfig {
        DrawnConfig {
            classes: 5,
            train_per_class: 200,
            val_per_class: 40,
            size: self.preprocess.size.clamp(16, 1024),
            ..DrawnConfig::default()
        }
    }

    /// The settings as they may leave this machine: with the weights' name and not their place.
    pub(crate) fn without_place(self) -> Self {
        let name = Path::new(&self.weights).file_name().map(PathBuf::from);
        let weights = name.map_or_else(String::new, |name| name.display().to_string());
        Self { weights, ..self }
    }
}

/// Splits gradients into the classifier's and the rest.
pub(crate) fn split_head(gradients: NamedTensors) -> (NamedTensors, NamedTensors) {
    gradients
        .into_iter()
        .partition(|(name, _)| name.starts_with(HEAD))
}
