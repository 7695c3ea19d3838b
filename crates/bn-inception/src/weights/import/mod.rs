//! From a file's tensors to a network: files of other projects.
//!
//! Such files say little about themselves. The caller states their network ([`Import::config`]) and preprocessing
//! ([`Import::preprocess`]); names, shapes and completeness are then checked without exception: every tensor of the
//! file is used and every parameter of the network is filled, or there is an [`ImportError`].

mod caffe;
mod error;
mod layout;
mod onnx;
mod tensors;

pub use error::{ImportError, WrongShape};
pub use tensors::Import;
pub(crate) use tensors::{DRAWN_HEAD, data, named_by, read, restore};
