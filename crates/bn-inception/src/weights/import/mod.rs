//! From a file's tensors to a network: files of other projects.
//!
//! Such files say little about themselves. The caller says which network ([`Import::config`]) and which pixels
//! ([`Import::preprocess`]) belong to them; names, shapes and completeness are then checked without exception: every
//! tensor of the file is used and every parameter of the network is filled, or there is an [`ImportError`].

mod caffe;
mod error;
mod onnx;
mod tensors;

pub use error::{ImportError, WrongShape};
pub use tensors::Import;
pub(crate) use tensors::{data, read};
