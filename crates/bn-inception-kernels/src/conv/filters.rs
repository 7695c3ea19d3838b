//! Filters in the order in which the inner loops read them.

use crate::plan::memory::Aligned;

/// The packed filters of one layer. Output channels are padded to whole channel blocks per part and to whole tiles at
/// the end.
pub(crate) struct Packed {
    pub(crate) weights: Aligned,
    /// One value per output channel.
    pub(crate) bias: Aligned,
    /// Lower bound of the outputs, one value per output channel: 0 for a ReLU, −∞ for none.
    pub(crate) floor: Aligned,
    /// Number of product tiles of output channels.
    pub(crate) tiles: usize,
    /// Number of floats of the weights of a tile.
    pub(crate) tile_len: usize,
}
