//! Errors of choices.

use bn_inception::{ConfigError, UnknownEndPoint, UnknownPreset};

use super::recipe::UnknownRecipe;

/// Invalid choices.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// An unknown recipe.
    #[error(transparent)]
    Recipe(#[from] UnknownRecipe),
    /// An unknown preset.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// A number out of its range.
    #[error("--{flag} is {found}, expected {expected}")]
    Range {
        /// Name of the flag, without its dashes.
        flag: &'static str,
        /// Value given.
        found: String,
        /// Values accepted.
        expected: &'static str,
    },
    /// Settings that describe no network.
    #[error(transparent)]
    Network(#[from] ConfigError),
    /// An end point that the network does not have.
    #[error("--freeze: {0}")]
    Freeze(#[from] UnknownEndPoint),
    /// Weights without batch normalisation to train with.
    #[error(
        "--weights {weights}: folded for inference, which cannot be undone; fine-tune the weights they were made from"
    )]
    Folded {
        /// Name or path of the weights.
        weights: String,
    },
    /// Weights of a network that reads no images.
    #[error("--weights {weights}: for inputs of {channels} channels; images have 3")]
    Channels {
        /// Name or path of the weights.
        weights: String,
        /// Channels of the network's input.
        channels: usize,
    },
    /// Parts of a step that the processes of a group cannot share equally.
    #[error("--accumulate {accumulate} cannot be shared by {ranks} ranks; choose a multiple of {ranks}")]
    Shares {
        /// Batches of a step.
        accumulate: usize,
        /// Processes.
        ranks: usize,
    },
    /// A choice that only fine-tuning has.
    #[error("--{flag} needs --weights, the weights to start from")]
    NeedsWeights {
        /// Name of the flag, without its dashes.
        flag: &'static str,
    },
    /// A choice that fine-tuning does not have.
    #[error("--{flag} comes with the weights to start from: leave it out")]
    OfWeights {
        /// Name of the flag, without its dashes.
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
