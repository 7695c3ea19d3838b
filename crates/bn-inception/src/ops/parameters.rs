//! Parameters of segments.

use burn::tensor::Tensor;

/// Parameters of one convolution of a segment.
pub(crate) struct ConvParameters {
    /// `[out_channels, in_channels, k, k]`
    pub(crate) filters: Tensor<4>,
    /// `[out_channels]`
    pub(crate) scale: Option<Tensor<1>>,
    /// `[out_channels]`
    pub(crate) shift: Option<Tensor<1>>,
    /// True to normalise with the statistics of the batch before scale and shift.
    pub(crate) normalize: bool,
}
