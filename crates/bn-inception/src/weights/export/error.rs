//! Errors of written files.

use safetensors::SafeTensorError;

use crate::end_points::UnknownEndPoint;

/// Failure to write weights in a format.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The metadata cannot be written.
    #[error("metadata: {0}")]
    Metadata(#[from] serde_json::Error),
    /// A tensor has no name in the requested naming.
    #[error("`{tensor}` has no name in {names}")]
    Name {
        /// This project's name of the tensor.
        tensor: String,
        /// The requested naming.
        names: &'static str,
    },
    /// The network has no such end point.
    #[error(transparent)]
    EndPoint(#[from] UnknownEndPoint),
    /// The tensors cannot form a safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafeTensorError),
    /// The tensors cannot form a burnpack file.
    #[error(transparent)]
    Burnpack(#[from] burn_pack::Error),
}
