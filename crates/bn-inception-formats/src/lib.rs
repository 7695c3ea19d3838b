//! Readers for the files in which BN-Inception weights are published.
//!
//! [`read`] turns the bytes of a file into an [`Archive`]: named `f32` tensors and, for formats that have one, the
//! graph. The format is recognised by content; the name of the file plays no part.
//!
//! | format | source |
//! |---|---|
//! | PyTorch `.pth` | `torch.save`: a zip archive with a pickle, or (before 1.6) a sequence of pickles |
//! | ONNX | `onnx.proto`: initializers, constants and nodes; with [`read_beside`] external data, too |
//! | MXNet `.params` | `NDArray::Save`: a list of arrays, versions 0 to 3 |
//! | Caffe `.caffemodel` | `caffe.proto`: layers with blobs, V1 and V2 |
//! | safetensors | the `safetensors` crate |
//! | burnpack `.bpk` | the `burn-pack` crate |
//!
//! # A tour
//! Every tensor is an [`Array`]: a shape and `f32` values, whatever the element type in the file.
//!
//! ```
//! use bn_inception_formats::{Format, Values, read};
//!
//! // A safetensors file: length of the header, the header, the values.
//! let header = br#"{"scale":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"epoch":"3"}}"#;
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend(header);
//! file.extend([1.0f32, 0.5].iter().flat_map(|value| value.to_le_bytes()));
//!
//! let archive = read(&file)?;
//! assert_eq!(archive.format, Format::Safetensors);
//! assert_eq!(archive.metadata["epoch"], "3");
//! let scale = &archive.tensors["scale"];
//! assert_eq!(scale.shape, [2]);
//! assert_eq!(scale.values, Values::Each(vec![1.0, 0.5]));
//! # Ok::<(), bn_inception_formats::ReadError>(())
//! ```
//!
//! This crate knows neither the network nor Burn: the crate `bn-inception` decides which tensor is which parameter,
//! by the names and, for ONNX and Caffe, by [`Archive::graph`]. A file that is no weight file is named for what it is:
//!
//! ```
//! use bn_inception_formats::{ReadError, read};
//!
//! let error = read(b"<!DOCTYPE html><title>404</title>").unwrap_err();
//! assert!(matches!(error, ReadError::Unrecognized { .. }));
//! assert_eq!(error.to_string(), "not a weight file: it is an HTML page");
//! ```
//!
//! # Files from strangers
//! No reader panics, runs code from the file, writes to the disk or takes more memory than
//! [`limits::ALLOCATION_FACTOR`] times the size of the file and [`limits::ALLOCATION_SLACK`] bytes. All limits are in
//! [`limits`]; the example `fuzz_readers` tests them on damaged files.

use std::path::Path;

pub use archive::{Archive, Node};
pub use array::{Array, Values};
pub use error::{Problem, ReadError};
pub use format::Format;

mod archive;
mod array;
mod burnpack;
mod caffe;
mod cursor;
mod error;
mod external;
mod format;
pub mod limits;
mod mxnet;
mod onnx;
mod pickle;
mod pytorch;
mod safetensors;
mod signature;
mod wire;

/// Reads a file of any of the formats from its bytes.
///
/// # Errors
/// [`ReadError`] if the bytes are of no known format, are cut short or damaged, or ask for more than
/// [`limits`] allows; for an ONNX model that keeps values in other files, see [`read_beside`].
pub fn read(bytes: &[u8]) -> Result<Archive, ReadError> {
    read_any(bytes, None)
}

/// [`read()`] for a file in `folder`, where an ONNX model may keep values of its tensors in other files. Nothing outside
/// the folder is read, whatever the model says.
///
/// # Errors
/// As [`read()`].
pub fn read_beside(bytes: &[u8], folder: &Path) -> Result<Archive, ReadError> {
    read_any(bytes, Some(folder))
}

fn read_any(bytes: &[u8], folder: Option<&Path>) -> Result<Archive, ReadError> {
    let format = signature::recognize(bytes)?;
    let archive = match format {
        Format::PyTorchZip => pytorch::read_zip(bytes),
        Format::PyTorchLegacy => pytorch::read_legacy(bytes),
        Format::Safetensors => safetensors::read(bytes),
        Format::Onnx => onnx::read(bytes, folder),
        Format::MxNet => mxnet::read(bytes),
        Format::Caffe => caffe::read(bytes),
        Format::Burnpack => burnpack::read(bytes),
    };
    archive.map_err(|problem| ReadError::Broken { format, problem })
}

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
