//! Extents of convolutions and pools, besides those of their tensors.

/// Stride, padding `[(top, bottom), (left, right)]` and groups of a 2-D convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvGeometry {
    pub(crate) stride: usize,
    pub(crate) padding: [(usize, usize); 2],
    pub(crate) groups: usize,
}

/// Stride and padding `[(top, bottom), (left, right)]` of a 3x3 pooling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolGeometry {
    pub(crate) stride: usize,
    pub(crate) padding: [(usize, usize); 2],
}
