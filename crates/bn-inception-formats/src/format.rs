//! The formats.

use std::fmt;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A zip archive as `torch.save` writes it.
    PyTorchZip,
    /// A sequence of pickles, as `torch.save` wrote it before version 1.6.
    PyTorchLegacy,
    /// An ONNX model.
    Onnx,
    /// An MXNet NDArray list.
    MxNet,
    /// A Caffe network with weights.
    Caffe,
    /// Safetensors.
    Safetensors,
    /// Burn's own format.
    Burnpack,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PyTorchZip => "PyTorch file (zip)",
            Self::PyTorchLegacy => "PyTorch file (legacy)",
            Self::Onnx => "ONNX file",
            Self::MxNet => "MXNet parameter file",
            Self::Caffe => "Caffe model",
            Self::Safetensors => "safetensors file",
            Self::Burnpack => "burnpack file",
        })
    }
}
