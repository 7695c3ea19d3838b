//! BN-Inception (Ioffe & Szegedy 2015, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
//! Covariate Shift*) for the [Burn](burn) deep-learning framework.
//!
//! - [`ImageClassifier`]: from an image to named classes, in three lines; [`Ensemble`]: several models, several crops.
//! - [`Preset`] and [`BnInceptionConfig`]: the published networks, and every choice in which they differ.
//! - [`Model`]: the network, a Burn module for training and inference on any device; [`FoldedModel`]: the same
//!   without batch normalisation, for inference as fast as the device can.
//! - [`import`]: files of other projects, from PyTorch to Caffe.
//! - [`weights`]: files that carry their configuration, preprocessing and labels.
//! - [`export`]: files for other programs: ONNX graphs, tensors with the names of PyTorch models.
//! - [`device`]: devices by name; [`preprocess`] and [`decode`]: from an image file to the network's input.

pub use burn;
pub use image;

pub use batch_norm::BatchNorm;
pub use bn_inception_data::{self as crops, self as preprocess, decode};
pub use bn_inception_data::{Crops, Preprocess};
pub use classifier::Classifier;
pub use classify::{ImageClassifier, ImageSource, PredictError, Prediction};
pub use config::{
    Activation, BnInceptionConfig, ConfigError, MaxPooling, Normalization, Stem, StridedPadding,
};
pub use conv::ConvUnit;
pub use device::{DeviceError, DeviceSpec, OpenDevice};
pub use ensemble::{Ensemble, EnsembleError, Views};
pub use folded::{Algorithm, EngineError, EngineOptions, FoldError, FoldedModel, LayerTime};
pub use inception::InceptionBlock;
pub use model::{Features, Model, UnknownEndPoint};
pub use plan::{BlockPlan, Plan, PoolBranch, StemPlan};
pub use preset::{Preset, UnknownPreset};
pub use stem::Stem as StemLayers;
pub use summary::{Summary, SummaryRow};

pub mod atomic;
mod batch_norm;
mod classifier;
mod classify;
mod config;
mod conv;
pub mod device;
mod ensemble;
pub mod export;
mod fold;
mod folded;
pub mod import;
mod inception;
pub mod labels;
mod model;
mod network;
mod ops;
mod padding;
mod plan;
mod pool;
mod preset;
pub mod state;
mod stem;
mod summary;
pub mod weights;

/// The README's example, compiled.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../../../README.md")]
mod readme {}
