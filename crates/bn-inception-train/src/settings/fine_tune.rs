//! Fine-tuning: a run that starts from trained weights and learns other classes.
//!
//! The network, its preprocessing and all of its weights except the classifier's come from those weights. The part up
//! to a chosen end point may be frozen; the rest and the new classifier have separate learning rates.

use std::path::{Path, PathBuf};

use bn_inception::{BnInceptionConfig, Preprocess};
use bn_inception_data::DrawnConfig;
use serde::{Deserialize, Serialize};

/// The part of a run's settings that describes the weights it starts from, and their treatment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FineTune {
    /// Name or path of the weights. A resumed run no longer needs them.
    pub weights: String,
    /// The end point up to which the network is frozen; `None` trains all of it.
    pub freeze: Option<String>,
    /// Learning rate of what is neither frozen nor the classifier, before the schedule's factor.
    pub lr: f64,
    /// Learning rate of the classifier, before the schedule's factor.
    pub head_lr: f64,
    /// The weights' network, with its own number of classes.
    pub network: BnInceptionConfig,
    /// Preprocessing of images, now as when the weights were trained.
    pub preprocess: Preprocess,
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

    /// The settings without the path of the weights on this machine: with their name only.
    pub(crate) fn without_place(self) -> Self {
        let name = Path::new(&self.weights).file_name().map(PathBuf::from);
        let weights = name.map_or_else(String::new, |name| name.display().to_string());
        Self { weights, ..self }
    }
}
