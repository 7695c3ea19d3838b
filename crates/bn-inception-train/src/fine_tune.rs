//! Fine-tuning: a run that starts from trained weights and learns other classes.
//!
//! The network, its preprocessing and all of its weights but the classifier's come from those weights. The part up to
//! an end point of the user's choice may be frozen; what is behind it and the new classifier learn at two rates.

use std::path::{Path, PathBuf};

use bn_inception::weights::{Metadata, Weights, WeightsError};
use bn_inception::{BnInceptionConfig, ConfigError, Model, Normalization, OpenDevice, Preprocess};
use serde::{Deserialize, Serialize};

use crate::drawn::DrawnConfig;
use crate::parameters::NamedTensors;
use crate::recipe::Recipe;
use crate::settings::{Choices, SettingsError};

/// Tensors of the classifier, which starts anew and learns at a rate of its own.
const HEAD: &str = "classifier.";
/// How much faster than the rest the classifier learns unless the user says otherwise.
const HEAD_FACTOR: f64 = 10.0;

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
        let (model, metadata) = Weights::open(weights, None)?.model(&device);
        Ok(Self { model, metadata })
    }

    /// The network with a new classifier for `classes` classes.
    pub(crate) fn start(self, classes: usize, seed: u64) -> Result<Model, ConfigError> {
        self.model.with_classes_seeded(classes, seed)
    }
}

impl FineTune {
    /// What `choices` make of the weights that say `base` about themselves.
    pub(crate) fn choose(
        choices: &Choices,
        base: &Metadata,
        recipe: &Recipe,
    ) -> Result<Self, SettingsError> {
        let given = [
            ("preset", choices.preset.is_some()),
            ("width", choices.width.is_some()),
            ("image-size", choices.image_size.is_some()),
        ];
        if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(SettingsError::OfWeights { flag });
        }
        let weights = choices.weights.clone().unwrap_or_default();
        if base.config.normalization == Normalization::Folded {
            return Err(SettingsError::Folded { weights });
        }
        let lr = choices.lr.unwrap_or(recipe.learning_rate);
        Ok(Self {
            weights,
            freeze: choices.freeze.clone(),
            lr,
            head_lr: choices.head_lr.unwrap_or(HEAD_FACTOR * lr),
            network: base.config.clone(),
            preprocess: base.preprocess.clone(),
        })
    }

    /// Nothing, if `choices` for a run from scratch have nothing that only fine-tuning has.
    pub(crate) fn refuse(choices: &Choices) -> Result<Option<Self>, SettingsError> {
        let given = [
            ("freeze", choices.freeze.is_some()),
            ("lr", choices.lr.is_some()),
            ("head-lr", choices.head_lr.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(SettingsError::NeedsWeights { flag }),
            None => Ok(None),
        }
    }

    /// Checks the learning rates and the end point.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        for (flag, lr) in [("lr", self.lr), ("head-lr", self.head_lr)] {
            if !lr.is_finite() || lr <= 0.0 {
                return Err(SettingsError::Range {
                    flag,
                    found: lr.to_string(),
                    expected: "a positive number",
                });
            }
        }
        if let Some(end_point) = &self.freeze {
            self.network.count_through(end_point)?;
        }
        Ok(())
    }

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
