//! Errors of written files.

use safetensors::SafeTensorError;

/// Failure to write weights in a format.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The metadata cannot be written.
    #[error("metadata: {0}")]
    Metadata(#[from] serde_json::Error),
    /// A tensor has no name there.
    #[error("`{tensor}` has no name in {names}")]
    Name {
        /// Our name of the tensor.
        tensor: String,
        /// Naming that was asked for.
        names: &'static str,
    },
    /// The tensors do not make a safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafeTensorError),
    /// The tensors do not make a burnpack file.
    #[error(transparent)]
    Burnpack(#[from] burn_pack::Error),
}
