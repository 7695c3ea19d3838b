//! Planes of feature maps, and the constants of their channels.

use crate::plan::layout::BLOCK;

/// Values of the sixteen channels of a block.
pub(crate) type Lanes = [f32; BLOCK];

/// Extent of a plane: rows, pixels in a row.
pub(crate) type Size = [usize; 2];

/// Per-channel constants of `function(scale · z + shift)` and of its backward pass.
pub(crate) struct Channels<'a> {
    pub(crate) mean: &'a Lanes,
    pub(crate) scale: &'a Lanes,
    pub(crate) shift: &'a Lanes,
}

/// A plane of the layer's output gradient beside the plane of its convolution's output.
pub(crate) struct Planes<'a> {
    pub(crate) z: &'a [f32],
    pub(crate) z_row: usize,
    pub(crate) da: &'a [f32],
    pub(crate) da_row: usize,
    pub(crate) size: Size,
}
