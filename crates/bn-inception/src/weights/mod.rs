//! Weight files: safetensors with everything inside that is needed to use them, and files of other projects.
//!
//! [`Weights::open`] accepts the name of published weights or the path of a file: one of this project or, with an
//! [`Import`] that states its network and preprocessing, one of another (PyTorch, ONNX, MXNet, Caffe, safetensors or
//! burnpack, recognised by content). Every tensor of the file is used and every parameter of the network is filled, or
//! there is a [`WeightsError`].
//!
//! ```no_run
//! use bn_inception::burn::tensor::Device;
//! use bn_inception::weights::{Import, Weights};
//! use bn_inception::{Preprocess, Preset};
//!
//! let (model, metadata) = Weights::open("imagenette", None)?.model(&Device::flex());
//! println!("{} classes, {} pixels", metadata.labels.len(), metadata.preprocess.size);
//!
//! let cadenes = Import::new(Preset::Caffe.config(), Preprocess::cadene());
//! let weights = Weights::open("bn_inception-52deb4733.pth", Some(&cadenes))?;
//! let onnx: Vec<u8> = weights.into_onnx()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Metadata`]: the content of a file of this project besides its tensors.
//! - [`registry`]: published weights by name; [`Store`]: the cache folder of their files.

pub use bn_inception_fetch::{FetchError, FetchEvent, FetchProblem, Location, Store};
pub use error::{Proposal, WeightsError, WeightsProblem};
pub use export::{ExportError, Precision};
pub use file::Weights;
pub use import::{Import, ImportError, WrongShape};
pub use metadata::{Metadata, MetadataError};
pub use names::Names;

mod error;
mod export;
mod file;
mod import;
pub mod labels;
mod metadata;
mod names;
pub mod registry;
