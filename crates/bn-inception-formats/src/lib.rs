//! Readers for the files in which BN-Inception weights are published.
//!
//! [`read`] turns the bytes of a file into an [`Archive`]: named `f32` tensors and, for formats that have one, the
//! graph. The format is recognised by content; names of files play no part. This crate knows neither the network nor
//! Burn: which tensor is which parameter is decided elsewhere.
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
//! [`limits::ALLOCATION_FACTOR`] times the file's size and [`limits::ALLOCATION_SLACK`] bytes. The limits are in [`limits`]; the
//! example `fuzz_readers` tests them on damaged files.

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
mod wire;

use std::collections::BTreeMap;

pub use array::{Array, Values};
pub use error::{Problem, ReadError};
pub use format::Format;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    /// The format it was read from.
    pub format: Format,
    /// Tensors by the file's own names.
    pub tensors: BTreeMap<String, Array>,
    /// Text that goes with them: safetensors' and burnpack's metadata, ONNX's `metadata_props`.
    pub metadata: BTreeMap<String, String>,
    /// Nodes of an ONNX graph or layers of a Caffe network in the file's order; empty for formats without a graph.
    pub graph: Vec<Node>,
}

/// A node of an ONNX graph, or a layer of a Caffe network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Its name; may be empty.
    pub name: String,
    /// ONNX operator or Caffe layer type, such as `Conv` or `Convolution`.
    pub operator: String,
    /// What it reads: names of other nodes' outputs, of tensors, or of the graph's inputs.
    pub inputs: Vec<String>,
    /// What it puts out.
    pub outputs: Vec<String>,
    /// Its integer attributes: ONNX's `strides`, `pads`, `group`, … (a single integer has length 1).
    pub integers: BTreeMap<String, Vec<i64>>,
    /// Its number attributes: ONNX's `epsilon`, `alpha`, ….
    pub floats: BTreeMap<String, f32>,
    /// Its text attributes: ONNX's `auto_pad`.
    pub texts: BTreeMap<String, String>,
}

/// Reads a file of any of the formats from its bytes.
///
/// # Errors
/// [`ReadError`] if the bytes are of no known format, are cut short or damaged, or ask for more than
/// [`limits`] allows.
pub fn read(bytes: &[u8]) -> Result<Archive, ReadError> {
    let format = Format::of(bytes)?;
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

impl Archive {
    fn of_tensors(format: Format, tensors: BTreeMap<String, Array>) -> Self {
        Self {
            format,
            tensors,
            metadata: BTreeMap::new(),
            graph: Vec::new(),
        }
    }
}
