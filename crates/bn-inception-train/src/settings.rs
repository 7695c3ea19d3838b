//! What determines the numbers of a run, and nothing else.
//!
//! [`Settings`] go into every checkpoint: a run resumed with others would silently be a third run
//! that nobody asked for. Device, workers and folders are not among them; a run may move.

use std::path::PathBuf;

use bn_inception::weights::Metadata;
use bn_inception::{
    BnInceptionConfig, ConfigError, Preprocess, Preset, UnknownEndPoint, UnknownPreset,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::drawn::DrawnConfig;
use crate::fine_tune::FineTune;
use crate::recipe::{Recipe, UnknownRecipe};

/// The choices a user may leave open, as given: `None` means "the default", or, for a run that is
/// resumed, "as before". Field names are those of the command line's flags.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choices {
    /// Name of a [`Recipe`].
    pub recipe: Option<String>,
    /// Name of a [`Preset`].
    pub preset: Option<String>,
    /// Multiplier of the network's channel counts.
    pub width: Option<f64>,
    /// Height and width of the training images in pixels.
    pub image_size: Option<usize>,
    /// Length of the run in epochs.
    pub epochs: Option<usize>,
    /// Length of the run in optimizer steps, instead of epochs.
    pub steps: Option<u64>,
    /// Images per batch.
    pub batch_size: Option<usize>,
    /// Batches per optimizer step.
    pub accumulate: Option<usize>,
    /// Largest global norm of the gradients.
    pub clip_norm: Option<f64>,
    /// Seed of the initial weights, the order of images, their augmentation and dropout.
    pub seed: Option<u64>,
    /// Name or path of weights to start from: the run fine-tunes them. Network, input size and preprocessing are
    /// theirs, and the fields below apply.
    pub weights: Option<String>,
    /// The end point up to which those weights are frozen.
    pub freeze: Option<String>,
    /// Learning rate of what is neither frozen nor the classifier.
    pub lr: Option<f64>,
    /// Learning rate of the classifier.
    pub head_lr: Option<f64>,
}

/// The choices, all made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Folder with `train/` and `val/`; `None` for the embedded, drawn images.
    pub data: Option<PathBuf>,
    /// Name of a [`Recipe`].
    pub recipe: String,
    /// Name of a [`Preset`]; `other` if the weights to be fine-tuned are of none.
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
    /// Where the weights come from, if they are not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tune: Option<FineTune>,
}

/// What a run does unless it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Name of a [`Recipe`].
    pub recipe: &'static str,
    /// Name of a [`Preset`].
    pub preset: &'static str,
    /// Multiplier of the network's channel counts.
    pub width: f64,
    /// Height and width of the training images in pixels.
    pub image_size: usize,
    /// Length of the run in epochs.
    pub epochs: usize,
}

/// Defaults for a dataset of the user's.
pub const PHOTOGRAPHS: Defaults = Defaults {
    recipe: "modern",
    preset: "caffe",
    width: 1.0,
    image_size: 224,
    epochs: 20,
};

/// Defaults for the embedded dataset: a few minutes on two processor cores.
pub const EMBEDDED: Defaults = Defaults {
    recipe: "drawn",
    preset: "caffe",
    width: 0.25,
    image_size: 64,
    epochs: 10,
};

/// Defaults for fine-tuning. What is not here comes with the weights.
const FINE_TUNING: Defaults = Defaults {
    recipe: "fine-tune",
    epochs: 10,
    ..PHOTOGRAPHS
};

/// Why choices make no settings.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// No such recipe.
    #[error(transparent)]
    Recipe(#[from] UnknownRecipe),
    /// No such preset.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// A number out of its range.
    #[error("--{flag} is {found}, expected {expected}")]
    Range {
        /// The flag, without its dashes.
        flag: &'static str,
        /// The value given.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The network that the settings describe is none.
    #[error(transparent)]
    Network(#[from] ConfigError),
    /// The network cannot be frozen up to there.
    #[error("--freeze: {0}")]
    Freeze(#[from] UnknownEndPoint),
    /// Weights without batch normalisation to train with.
    #[error(
        "--weights {weights}: folded for inference, which cannot be undone; fine-tune the weights they were made from"
    )]
    Folded {
        /// The weights' name or path.
        weights: String,
    },
    /// A choice that only fine-tuning has.
    #[error("--{flag} needs --weights, the weights to start from")]
    NeedsWeights {
        /// The flag, without its dashes.
        flag: &'static str,
    },
    /// A choice that fine-tuning does not have.
    #[error("--{flag} comes with the weights to start from: leave it out")]
    OfWeights {
        /// The flag, without its dashes.
        flag: &'static str,
    },
    /// Both lengths are given.
    #[error("--epochs and --steps exclude each other")]
    TwoLengths,
    /// Choices for a resumed run that contradict its checkpoint.
    #[error(
        "the run to resume has other settings: {}; leave these flags out, or start anew with \
         another --out", differences.join(", ")
    )]
    Differs {
        /// Each differing flag with both values.
        differences: Vec<String>,
    },
}

impl Choices {
    /// Settings for a new run on `data`. `base` is what the file of [`Self::weights`] says about itself.
    ///
    /// # Errors
    /// [`SettingsError`] names the flag and what it accepts.
    pub fn settings(
        &self,
        data: Option<PathBuf>,
        base: Option<&Metadata>,
    ) -> Result<Settings, SettingsError> {
        let defaults = match (base, &data) {
            (Some(_), _) => FINE_TUNING,
            (None, Some(_)) => PHOTOGRAPHS,
            (None, None) => EMBEDDED,
        };
        if self.epochs.is_some() && self.steps.is_some() {
            return Err(SettingsError::TwoLengths);
        }
        let recipe = Recipe::named(self.recipe.as_deref().unwrap_or(defaults.recipe))?;
        let fine_tune = match base {
            Some(base) => Some(FineTune::choose(self, base, &recipe)?),
            None => FineTune::refuse(self)?,
        };
        let preset: Preset = self.preset.as_deref().unwrap_or(defaults.preset).parse()?;
        let mut settings = Settings {
            data,
            recipe: recipe.name.to_owned(),
            preset: preset.name().to_owned(),
            width: self.width.unwrap_or(defaults.width),
            image_size: self.image_size.unwrap_or(defaults.image_size),
            epochs: match self.steps {
                Some(_) => None,
                None => Some(self.epochs.unwrap_or(defaults.epochs)),
            },
            steps: self.steps,
            batch_size: self.batch_size.unwrap_or(recipe.batch_size),
            accumulate: self.accumulate.unwrap_or(1),
            clip_norm: self.clip_norm.or(recipe.clip_norm),
            seed: self.seed.unwrap_or(0),
            fine_tune: None,
        };
        if let Some(fine_tune) = fine_tune {
            let network = &fine_tune.network;
            settings.preset = Preset::of(network).map_or("other", Preset::name).to_owned();
            settings.width = network.width;
            settings.image_size = fine_tune.preprocess.size as usize;
            settings.fine_tune = Some(fine_tune);
        }
        settings.check()?;
        Ok(settings)
    }

    /// Checks that nothing chosen contradicts `settings`, those of a run to be resumed.
    ///
    /// # Errors
    /// [`SettingsError::Differs`] lists every differing flag.
    pub fn check_against(&self, settings: &Settings) -> Result<(), SettingsError> {
        let (Ok(Value::Object(chosen)), Ok(before)) =
            (serde_json::to_value(self), serde_json::to_value(settings))
        else {
            unreachable!("both are plain structs of strings and numbers")
        };
        let before = |flag: &str| match &before[flag] {
            Value::Null => &before["fine-tune"][flag],
            value => value,
        };
        let show = |value: &Value| match value {
            Value::Null => "not set".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let differences: Vec<_> = chosen
            .iter()
            .filter(|(flag, value)| !value.is_null() && before(flag) != *value)
            .map(|(flag, value)| {
                let before = show(before(flag));
                format!("--{flag} {} (was: {before})", show(value))
            })
            .collect();
        if differences.is_empty() {
            Ok(())
        } else {
            Err(SettingsError::Differs { differences })
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), SettingsError> {
        let range = |ok: bool, flag, found: String, expected| match ok {
            true => Ok(()),
            false => Err(SettingsError::Range {
                flag,
                found,
                expected,
            }),
        };
        let positive = "a whole number from 1 up";
        if let Some(epochs) = self.epochs {
            range(epochs > 0, "epochs", epochs.to_string(), positive)?;
        }
        if let Some(steps) = self.steps {
            range(steps > 0, "steps", steps.to_string(), positive)?;
        }
        let batch = self.batch_size;
        range(
            (1..=65_536).contains(&batch),
            "batch-size",
            batch.to_string(),
            "1 to 65536",
        )?;
        let accumulate = self.accumulate;
        range(
            accumulate > 0,
            "accumulate",
            accumulate.to_string(),
            positive,
        )?;
        if let Some(norm) = self.clip_norm {
            let fine = norm.is_finite() && norm > 0.0;
            range(fine, "clip-norm", norm.to_string(), "a positive number")?;
        }
        if let Some(fine_tune) = &self.fine_tune {
            fine_tune.check()?;
        }
        self.network(2)?;
        Ok(())
    }

    /// The recipe, with the choices that fine-tuning makes in its place.
    ///
    /// # Errors
    /// [`SettingsError::Recipe`] if the settings come from a program with other recipes.
    pub fn recipe(&self) -> Result<Recipe, SettingsError> {
        let recipe = Recipe::named(&self.recipe)?;
        Ok(match &self.fine_tune {
            None => recipe,
            Some(fine_tune) => Recipe {
                learning_rate: fine_tune.lr,
                dropout: fine_tune.network.dropout,
                ..recipe
            },
        })
    }

    /// The network for this many classes.
    ///
    /// # Errors
    /// [`SettingsError`] names what is out of range.
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

    /// What is done to an image before it enters the network.
    #[must_use]
    pub fn preprocess(&self) -> Preprocess {
        match &self.fine_tune {
            Some(fine_tune) => fine_tune.preprocess.clone(),
            None => Preprocess::imagenet(self.image_size as u32),
        }
    }

    /// The end point up to which the network is frozen, if it is.
    #[must_use]
    pub fn frozen(&self) -> Option<&str> {
        self.fine_tune.as_ref()?.freeze.as_deref()
    }

    /// The images that a run without data draws.
    #[must_use]
    pub fn drawn(&self) -> DrawnConfig {
        match &self.fine_tune {
            Some(fine_tune) => fine_tune.drawn(),
            None => DrawnConfig::default(),
        }
    }

    /// Optimizer steps of the whole run, for epochs of `steps_per_epoch`.
    #[must_use]
    pub fn total_steps(&self, steps_per_epoch: u64) -> u64 {
        match (self.steps, self.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => (epochs.unwrap_or(1) as u64).saturating_mul(steps_per_epoch),
        }
    }

    /// Settings of a tiny run, for tests of what carries settings around.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let choices = Choices {
            seed: Some(3),
            ..Choices::default()
        };
        choices
            .settings(None, None)
            .expect("the defaults are valid")
    }
}

#[cfg(test)]
mod tests;
