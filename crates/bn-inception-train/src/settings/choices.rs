//! A user's choices, and the settings that follow from them.

use std::path::PathBuf;

use bn_inception::weights::Metadata;
use bn_inception::{Normalization, Preset};
use serde::Serialize;
use serde_json::Value;

use super::error::SettingsError;
use super::fine_tune::FineTune;
use super::recipe::Recipe;
use super::run_settings::Settings;

/// Choices that a user may leave open: `None` means "the default" or, for a resumed run, "as before". Field names are
/// those of the command line's flags.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choices {
    /// Name of a [`Recipe`].
    pub recipe: Option<String>,
    /// Name of a [`Preset`](bn_inception::Preset).
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

/// Default settings of a kind of run.
struct Defaults {
    recipe: &'static str,
    width: f64,
    image_size: usize,
    epochs: usize,
}

/// For a dataset of the user's.
const PHOTOGRAPHS: Defaults = Defaults { recipe: "modern", width: 1.0, image_size: 224, epochs: 20 };

/// For the embedded dataset: about half a minute on two processor cores.
const EMBEDDED: Defaults = Defaults { recipe: "drawn", width: 0.25, image_size: 64, epochs: 5 };

/// For fine-tuning. Width and image size are those of the weights.
const FINE_TUNING: Defaults = Defaults { recipe: "fine-tune", epochs: 10, ..PHOTOGRAPHS };

/// Default learning rate of the classifier over that of the rest.
const HEAD_FACTOR: f64 = 10.0;

impl Choices {
    /// Settings for a new run on `data`. `base` is the metadata of the file [`Self::weights`].
    ///
    /// # Errors
    /// [`SettingsError`], which names the flag and the accepted values.
    pub fn settings(&self, data: Option<PathBuf>, base: Option<&Metadata>) -> Result<Settings, SettingsError> {
        let defaults = match (base, &data) {
            (Some(_), _) => FINE_TUNING,
            (None, Some(_)) => PHOTOGRAPHS,
            (None, None) => EMBEDDED,
        };
        if self.epochs.is_some() && self.steps.is_some() {
            return Err(SettingsError::TwoLengths);
        }
        let recipe = Recipe::named(self.recipe.as_deref().unwrap_or(defaults.recipe))?;
        let fine_tune = self.fine_tune(base, &recipe)?;
        let preset: Preset = self.preset.as_deref().unwrap_or("caffe").parse()?;
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
            fine_tune,
        };
        if let Some(FineTune { network, preprocess, .. }) = &settings.fine_tune {
            settings.preset = Preset::of(network).map_or("other", Preset::name).to_owned();
            settings.width = network.width;
            settings.image_size = preprocess.size as usize;
        }
        settings.check()?;
        Ok(settings)
    }

    /// The part of the settings that only fine-tuning has. `base` is the metadata of the weights to start from, if
    /// there are any.
    fn fine_tune(&self, base: Option<&Metadata>, recipe: &Recipe) -> Result<Option<FineTune>, SettingsError> {
        let Some(base) = base else {
            let given =
                [("freeze", self.freeze.is_some()), ("lr", self.lr.is_some()), ("head-lr", self.head_lr.is_some())];
            return match first_given(given) {
                Some(flag) => Err(SettingsError::NeedsWeights { flag }),
                None => Ok(None),
            };
        };
        let given = [
            ("preset", self.preset.is_some()),
            ("width", self.width.is_some()),
            ("image-size", self.image_size.is_some()),
        ];
        if let Some(flag) = first_given(given) {
            return Err(SettingsError::OfWeights { flag });
        }
        let weights = self.weights.clone().unwrap_or_default();
        if base.config.normalization == Normalization::Folded {
            return Err(SettingsError::Folded { weights });
        }
        let channels = base.config.image_channels();
        if channels != 3 {
            return Err(SettingsError::Channels { weights, channels });
        }
        let lr = self.lr.unwrap_or(recipe.learning_rate);
        Ok(Some(FineTune {
            weights,
            freeze: self.freeze.clone(),
            lr,
            head_lr: self.head_lr.unwrap_or(HEAD_FACTOR * lr),
            network: base.config.clone(),
            preprocess: base.preprocess.clone(),
        }))
    }

    /// Checks that no choice contradicts `settings`, those of a run to be resumed.
    ///
    /// # Errors
    /// [`SettingsError::Differs`] with every differing flag.
    pub fn check_against(&self, settings: &Settings) -> Result<(), SettingsError> {
        let (Ok(Value::Object(chosen)), Ok(before)) = (serde_json::to_value(self), serde_json::to_value(settings))
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
        if differences.is_empty() { Ok(()) } else { Err(SettingsError::Differs { differences }) }
    }
}

/// Name of the first flag that was given.
fn first_given(flags: [(&'static str, bool); 3]) -> Option<&'static str> {
    let given = flags.into_iter().find(|(_, given)| *given);
    given.map(|(flag, _)| flag)
}
