//! Errors of preprocessing.

/// Invalid preprocessing, or an image or buffer that does not fit it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// A field of [`Preprocess`](crate::Preprocess) is out of range.
    #[error("preprocessing: {field} is {found}, expected {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: String,
        /// Values accepted.
        expected: String,
    },
    /// The image has no pixels.
    #[error("preprocessing: the image has no pixels ({width}x{height})")]
    NoPixels {
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// The output buffer has the wrong length.
    #[error("preprocessing: the buffer holds {found} values, the image needs {expected}")]
    Buffer {
        /// Length of the buffer.
        found: usize,
        /// 3 × height × width.
        expected: usize,
    },
    /// The resizer failed, or the crop is not inside the image.
    #[error("preprocessing: cannot resize: {0}")]
    Resize(String),
}
