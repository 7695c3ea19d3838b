//! Files for other programs: ONNX graphs, and tensors with names of ours or of PyTorch models.

mod error;
mod graph;
mod network;
mod onnx;
mod proto;
mod tensors;

pub use error::ExportError;
pub(crate) use network::FeatureEnd;
pub(crate) use onnx::onnx;
pub use tensors::Precision;
pub(crate) use tensors::{burnpack, safetensors};
