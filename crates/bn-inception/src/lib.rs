//! BN-Inception (Ioffe & Szegedy 2015, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
//! Covariate Shift*) for the [Burn](burn) deep-learning framework.
//!
//! # Classify images
//!
//! An [`ImageClassifier`] accepts a path, the bytes of a file, or pixels. The weights `imagenette`, of ten classes, are
//! built in.
//!
//! ```
//! use bn_inception::{ImageClassifier, burn::tensor::Device, image::RgbImage};
//!
//! let classifier = ImageClassifier::open("imagenette", &Device::flex())?;
//! let image = RgbImage::new(320, 240); // or "church.jpg"
//! let predictions = classifier.predict(&image, 3)?;
//! assert_eq!(predictions.len(), 3);
//! for prediction in &predictions {
//!     println!("{:5.1} %  {}", 100.0 * prediction.probability, prediction.label);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An [`Ensemble`] averages the probabilities of several models and several crops of each image. An [`ImageEmbedder`] makes
//! vectors of images instead, [`Embeddings`] are files of them, and a [`NeighbourSearch`] finds those that are alike.
//!
//! # The network
//!
//! A [`Preset`] is a published network. Its [`BnInceptionConfig`] has a field for every choice in which they differ,
//! and lists all layers; shapes and counts need no device.
//!
//! ```
//! use bn_inception::Preset;
//!
//! let config = Preset::Caffe.config();
//! assert_eq!(config.layers()[0].name, "stem.conv1");
//! let summary = config.summary(224);
//! assert_eq!(summary.parameters(), 11_295_240);
//! println!("{summary}"); // output shape, parameters and multiply-adds of each block
//! ```
//!
//! # Training and inference
//!
//! [`Model`] is a Burn module: it trains on an autodiff device and infers on a plain one. [`Model::fold`] merges batch
//! normalisation into the convolutions; on a CPU the resulting [`FoldedModel`] runs in an engine of its own.
//!
//! ```
//! use bn_inception::{Preset, burn::tensor::{Device, Tensor}};
//!
//! let device = Device::flex().autodiff();
//! let model = Preset::Small.config().with_width(0.25).init(&device)?;
//! let images = Tensor::<4>::ones([2, 3, 28, 28], &device);
//! let gradients = model.forward(images.clone()).powi_scalar(2).sum().backward();
//!
//! let logits = model.fold().forward(images);
//! assert_eq!(logits.dims(), [2, 10]);
//! # Ok::<(), bn_inception::ConfigError>(())
//! ```
//!
//! For fine-tuning, [`Model::with_classes`] replaces the classifier, [`Model::freeze_through`] freezes the first part,
//! and [`Model::features`] returns all end points; [`FoldedModel::features`] and [`FoldedModel::embed`] return one, as a
//! map or pooled, from the inference engine. The crate `bn-inception-train` has recipes, a training loop and
//! checkpoints.
//!
//! # Weights
//!
//! [`Weights::open`](weights::Weights::open) accepts a name from the [registry](weights::registry) or a path. Files of
//! this project carry their configuration, preprocessing and labels; an [`Import`](weights::Import) states them for
//! files from PyTorch, ONNX, MXNet or Caffe.
//!
//! ```
//! use bn_inception::{burn::tensor::Device, weights::Weights};
//!
//! let (model, metadata) = Weights::open("imagenette", None)?.model(&Device::flex());
//! assert_eq!((model.config().classes, metadata.preprocess.size), (10, 128));
//! assert_eq!(metadata.labels[4], "church");
//! # Ok::<(), bn_inception::weights::WeightsError>(())
//! ```
//!
//! # Devices and data
//!
//! A [`DeviceSpec`] is a device by name, as on a command line; each backend is a cargo feature. [`data`] has everything
//! from image files to tensors: decoding, [`Preprocess`], [`Crops`], datasets and the loader.
//!
//! ```
//! use bn_inception::DeviceSpec;
//!
//! let opened = "flex".parse::<DeviceSpec>()?.open()?; // or "auto", "cuda:1", …
//! println!("computing on {}", opened.name);
//! # Ok::<(), bn_inception::DeviceError>(())
//! ```

pub use bn_inception_data as data;
pub use bn_inception_data::{Crops, Preprocess, decode_file};
pub use burn;
pub use image;

pub use batch_norm::BatchNorm;
pub use bn_inception_kernels::train::Trainer;
pub use classifier::ClassifierHead;
pub use config::{Activation, BnInceptionConfig, ConfigError, MaxPooling, Normalization, StemKind, StridedPadding};
pub use conv::ConvUnit;
pub use device::{DeviceError, DeviceSpec, OpenDevice, is_cpu};
pub use end_points::{Features, UnknownEndPoint};
pub use folded::{Algorithm, EngineError, EngineOptions, EnginePrecision, FoldError, FoldedModel, LayerTime};
pub use inception::InceptionBlock;
pub use layers::{Convolution, Layer, Operation, TensorRole};
pub use model::Model;
pub use plan::{BlockPlan, ChannelPlan, PoolBranch, StemPlan};
pub use pool::{Pooling, UnknownPooling};
pub use predict::{EmbedError, Embeddings, EmbeddingsError, EmbeddingsInfo, EmbeddingsProblem, ImageEmbedder, LeftOut};
pub use predict::{Ensemble, EnsembleError, ImageClassifier, ImageSource, PredictError, Prediction, Views};
pub use predict::{Neighbour, NeighbourSearch, RetrievalScores};
pub use preset::{Preset, UnknownPreset};
pub use state::{State, StateError, TensorPath};
pub use stem::Stem;
pub use summary::{ModelSummary, SummaryRow};
pub use weights::labels;

mod batch_norm;
mod batch_statistics;
mod classifier;
mod config;
mod conv;
mod device;
mod end_points;
mod fold;
mod folded;
mod frozen;
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
mod segment;
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
