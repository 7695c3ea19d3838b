//! BN-Inception (Ioffe & Szegedy 2015, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
//! Covariate Shift*) for the [Burn](burn) deep-learning framework.
//!
//! - [`ImageClassifier`]: from an image to named classes, in three lines; [`Ensemble`]: several models, several crops.
//! - [`Preset`] and [`BnInceptionConfig`]: the published networks, and every choice in which they differ.
//! - [`Model`]: the network, a Burn module for training and inference on any device; [`FoldedModel`]: the same
//!   without batch normalisation, for inference as fast as the device can.
//! - [`weights`]: files that carry their configuration, preprocessing and labels; files of other projects, from PyTorch
//!   to Caffe; files for other programs.
//! - [`DeviceSpec`]: devices by name; [`data`]: from an image file to the network's input.

pub use bn_inception_data as data;
pub use bn_inception_data::{Crops, Preprocess, decode_file};
pub use burn;
pub use image;

pub use batch_norm::BatchNorm;
pub use classifier::ClassifierHead;
pub use config::{Activation, BnInceptionConfig, ConfigError, MaxPooling, Normalization, StemKind, StridedPadding};
pub use conv::ConvUnit;
pub use device::{DeviceError, DeviceSpec, OpenDevice};
pub use folded::{Algorithm, EngineError, EngineOptions, FoldError, FoldedModel, LayerTime};
pub use inception::InceptionBlock;
pub use layers::{Convolution, Layer, Operation, TensorRole};
pub use model::{Features, Model, UnknownEndPoint};
pub use plan::{BlockPlan, ChannelPlan, PoolBranch, StemPlan};
pub use predict::{Ensemble, EnsembleError, ImageClassifier, ImageSource, PredictError, Prediction, Views};
pub use preset::{Preset, UnknownPreset};
pub use state::{State, StateError, TensorPath};
pub use stem::Stem;
pub use summary::{ModelSummary, SummaryRow};
pub use weights::labels;

mod batch_norm;
mod classifier;
mod config;
mod conv;
mod device;
mod fold;
mod folded;
mod inception;
mod layers;
mod model;
mod network;
mod ops;
mod padding;
mod plan;
mod pool;
mod predict;
mod preset;
mod state;
mod stem;
mod summary;
mod topology;
pub mod weights;

/// The crate's README, compiled.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
mod crate_readme {}

/// The README's example, compiled.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../../../README.md")]
mod readme {}
