//! Readers for the files in which BN-Inception weights are published.
//!
//! [`read`] turns the bytes of a file into an [`Archive`]: named `f32` tensors and, for formats that have one, the
//! graph. The format is recognised by content; the name of the file plays no part.
//!
//! | format | source |
//! |---|---|
//! | PyTorch `.pth` | `torch.save`: a zip archive with a pickle, or (before 1.6) a sequence of pickles |
//! | ONNX | `onnx.proto`: initializers, constants and nodes |
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
/// [`limits`] allows.
pub fn read(bytes: &[u8]) -> Result<Archive, ReadError> {
    let format = signature::recognize(bytes)?;
    let read = match format {
        Format::PyTorchZip => pytorch::read_zip,
        Format::PyTorchLegacy => pytorch::read_legacy,
        Format::Safetensors => safetensors::read,
        Format::Onnx => onnx::read,
        Format::MxNet => mxnet::read,
        Format::Caffe => caffe::read,
        Format::Burnpack => burnpack::read,
    };
    read(bytes).map_err(|problem| ReadError::Broken { format, problem })
}

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
