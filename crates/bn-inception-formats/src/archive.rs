//! Content of a weight file, whatever its format.

use std::collections::BTreeMap;

use crate::array::Array;
use crate::format::Format;

/// Content of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    /// Format of the file.
    pub format: Format,
    /// Tensors by their names in the file.
    pub tensors: BTreeMap<String, Array>,
    /// Text beside the tensors: the metadata of safetensors and burnpack, the `metadata_props` of ONNX.
    pub metadata: BTreeMap<String, String>,
    /// Nodes of an ONNX graph or layers of a Caffe network, in the file's order; empty for formats without a graph.
    pub graph: Vec<Node>,
}

/// A node of an ONNX graph, or a layer of a Caffe network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Name; may be empty.
    pub name: String,
    /// ONNX operator or Caffe layer type, such as `Conv` or `Convolution`.
    pub operator: String,
    /// Names of its inputs: outputs of other nodes, tensors, or inputs of the graph.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Integer attributes, such as ONNX's `strides`, `pads` and `group`; a single integer has length 1.
    pub integers: BTreeMap<String, Vec<i64>>,
    /// Floating-point attributes, such as ONNX's `epsilon` and `alpha`.
    pub floats: BTreeMap<String, f32>,
    /// Text attributes, such as ONNX's `auto_pad`.
    pub texts: BTreeMap<String, String>,
}

impl Archive {
    pub(crate) fn of_tensors(format: Format, tensors: BTreeMap<String, Array>) -> Self {
        Self { format, tensors, metadata: BTreeMap::new(), graph: Vec::new() }
    }
}
