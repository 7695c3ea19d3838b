//! Filters in the order in which the inner loops read them.

use crate::plan::context::Context;
use crate::plan::layout::BLOCK;
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
    /// The tensor that holds the weights, if a step of the plan packs them; otherwise they are in `weights`.
    pub(crate) tensor: Option<usize>,
}

impl Packed {
    /// Filters that a step of the plan packs into `tensor`, without bias or ReLU.
    pub(crate) fn in_tensor(tensor: usize, tiles: usize, tile_len: usize, oc: usize) -> Self {
        let (bias, mut floor) = (Aligned::zeroed(tiles * oc), Aligned::zeroed(tiles * oc));
        floor.as_mut_slice().fill(f32::NEG_INFINITY);
        Self { weights: Aligned::zeroed(0), bias, floor, tiles, tile_len, tensor: Some(tensor) }
    }

    /// Panics unless there are filters, bias and floor for `blocks` output channel blocks.
    pub(crate) fn check(&self, oc: usize, blocks: usize, tensors: impl Fn(usize) -> usize) {
        let outputs = self.tiles * oc;
        assert!(self.tiles * self.tile_len <= self.tensor.map_or(self.weights.len(), tensors));
        assert!(self.bias.len() >= outputs && self.floor.len() >= outputs && blocks * BLOCK <= outputs);
    }

    /// Start of the weights of a tile.
    ///
    /// # Safety
    /// `tile < self.tiles`, and the plan of `c` has checked the lengths.
    pub(crate) unsafe fn tile(&self, c: &Context<'_>, tile: usize) -> *const f32 {
        let start = match self.tensor {
            // SAFETY: the offset of a tensor is inside the arena.
            Some(tensor) => unsafe { c.arena.add(c.offsets[tensor]).cast_const() },
            None => self.weights.as_ptr(),
        };
        // SAFETY: by the contract.
        unsafe { start.add(tile * self.tile_len) }
    }
}
