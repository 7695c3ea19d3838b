//! Everything that determines the results of a run, and nothing else.

use std::fmt::Display;
use std::path::PathBuf;

use bn_inception::{BnInceptionConfig, Preprocess, Preset};
use bn_inception_data::DrawnConfig;
use serde::{Deserialize, Serialize};

use super::error::SettingsError;
use super::fine_tune::FineTune;
use super::recipe::Recipe;

/// Everything that determines the results of a run.
///
/// Every checkpoint contains its settings: resuming with others would silently make a third run that nobody asked for.
/// Device, workers and folders are not among them; a run may move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Folder with `train/` and `val/`; `None` for the embedded, drawn images.
    pub data: Option<PathBuf>,
    /// Name of a [`Recipe`].
    pub recipe: String,
    /// Name of a [`Preset`]; `other` if the weights to be fine-tuned have none.
    pub preset: String,
    /// Multiplier of the network's channel counts.
    pub width: f64,
    /// Height and width of the training images in pixels.
    pub image_size: usize,
    /// Length of the run in epochs, unless it is given in steps.
    pub epochs: Option<usize>,
    /// Length of the run in optimizer steps.
    pub steps: Option<u64>,
    /// Images per batch.
    pub batch_size: usize,
    /// Batches per optimizer step.
    pub accumulate: usize,
    /// Largest global norm of the gradients.
    pub clip_norm: Option<f64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Origin and treatment of the weights, if they are not newly drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tune: Option<FineTune>,
}

impl Settings {
    /// Checks every range, and that the settings describe a network.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let whole = "a whole number from 1 up";
        let positive = "a positive number";
        let is_positive = |number: f64| number.is_finite() && number > 0.0;
        let range = |ok: bool, flag, found: &dyn Display, expected| {
            if ok {
                return Ok(());
            }
            Err(SettingsError::Range { flag, found: found.to_string(), expected })
        };
        if let Some(epochs) = self.epochs {
            range(epochs > 0, "epochs", &epochs, whole)?;
        }
        if let Some(steps) = self.steps {
            range(steps > 0, "steps", &steps, whole)?;
        }
        let batch = self.batch_size;
        let fits = (1..=65_536).contains(&batch);
        range(fits, "batch-size", &batch, "1 to 65536")?;
        range(self.accumulate > 0, "accumulate", &self.accumulate, whole)?;
        if let Some(norm) = self.clip_norm {
            range(is_positive(norm), "clip-norm", &norm, positive)?;
        }
        if let Some(fine_tune) = &self.fine_tune {
            for (flag, lr) in [("lr", fine_tune.lr), ("head-lr", fine_tune.head_lr)] {
                range(is_positive(lr), flag, &lr, positive)?;
            }
            if let Some(end_point) = &fine_tune.freeze {
                fine_tune.network.count_through(end_point)?;
            }
        }
        self.network(2)?;
        Ok(())
    }

    /// The recipe, with fine-tuning's choices applied.
    ///
    /// # Errors
    /// [`SettingsError::Recipe`] if the settings come from a program with other recipes.
    pub fn recipe(&self) -> Result<Recipe, SettingsError> {
        let recipe = Recipe::named(&self.recipe)?;
        Ok(match &self.fine_tune {
            None => recipe,
            Some(fine_tune) => Recipe { learning_rate: fine_tune.lr, dropout: fine_tune.network.dropout, ..recipe },
        })
    }

    /// The network for this many classes.
    ///
    /// # Errors
    /// [`SettingsError`], which names the field that is out of range.
    pub fn network(&self, classes: usize) -> Result<BnInceptionConfig, SettingsError> {
        let network = match &self.fine_tune {
            Some(fine_tune) => fine_tune.network.clone().with_classes(classes),
            None => {
                let preset: Preset = self.preset.parse()?;
                self.recipe()?
                    .apply(preset.config())
                    .with_classes(classes)
                    .with_width(self.width)
                    .with_input_size(self.image_size)
            }
        };
        network.validate()?;
        Ok(network)
    }

    /// Preprocessing of the images, in training and afterwards.
    #[must_use]
    pub fn preprocess(&self) -> Preprocess {
        match &self.fine_tune {
            Some(fine_tune) => fine_tune.preprocess.clone(),
            None => Preprocess::imagenet(self.image_size as u32),
        }
    }

    /// The images that a run without data draws.
    #[must_use]
    pub fn drawn(&self) -> DrawnConfig {
        match &self.fine_tune {
            Some(fine_tune) => fine_tune.drawn(),
            None => DrawnConfig::default(),
        }
    }

    /// Checks that this many processes can share the batches of a step equally.
    ///
    /// # Errors
    /// [`SettingsError::Shares`] if they cannot.
    pub(crate) fn check_shares(&self, ranks: usize) -> Result<(), SettingsError> {
        let accumulate = self.accumulate;
        if accumulate.is_multiple_of(ranks) { Ok(()) } else { Err(SettingsError::Shares { accumulate, ranks }) }
    }

    /// Optimizer steps of the whole run, for epochs of `steps_per_epoch`.
    #[must_use]
    pub fn total_steps(&self, steps_per_epoch: u64) -> u64 {
        let epochs = self.epochs.unwrap_or(1) as u64;
        self.steps.unwrap_or_else(|| epochs.saturating_mul(steps_per_epoch))
    }
}
