//! The layout of feature maps in the arena, see the [module documentation](super).

use std::sync::Arc;

/// Channels of a channel block: the innermost dimension of every feature map, whatever the instruction set.
pub(crate) const BLOCK: usize = 16;
/// Registers of output channels in a product tile.
pub(crate) const VECTORS: usize = 2;

/// The network's channel in each physical channel of a feature map; `None` for padding, whose
/// filters are zero; in inference its values are too.
pub(crate) type ChannelMap = Vec<Option<usize>>;

/// `channels` in order, padded to whole blocks.
pub(crate) fn padded(channels: usize) -> ChannelMap {
    (0..channels.next_multiple_of(BLOCK)).map(|c| (c < channels).then_some(c)).collect()
}

/// A strided view of a tensor: the offset of pixel (0, 0) of image 0, block 0, and the strides from there, in floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// Index into the plan's tensors.
    pub(crate) tensor: usize,
    /// Offset inside the tensor.
    pub(crate) offset: usize,
    /// Stride between two rows.
    pub(crate) row: usize,
    /// Stride between two channel blocks.
    pub(crate) plane: usize,
    /// Stride between two images.
    pub(crate) image: usize,
}

/// A feature map of the plan, or a run of its images.
#[derive(Clone)]
pub(crate) struct FeatureMap {
    pub(crate) tensor: usize,
    pub(crate) first: usize,
    pub(crate) images: usize,
    pub(crate) size: [usize; 2],
    pub(crate) channels: Arc<ChannelMap>,
}

impl FeatureMap {
    pub(crate) fn blocks(&self) -> usize {
        self.channels.len() / BLOCK
    }

    /// View of a block from the corner of its border.
    pub(crate) fn view_with_border(&self, block: usize) -> View {
        let row = (self.size[1] + 2) * BLOCK;
        let plane = spread((self.size[0] + 2) * (self.size[1] + 2)) * BLOCK;
        let image = self.blocks() * plane;
        View { tensor: self.tensor, offset: self.first * image + block * plane, row, plane, image }
    }

    /// View of a block from its first pixel.
    pub(crate) fn view(&self, block: usize) -> View {
        let corner = self.view_with_border(block);
        View { offset: corner.offset + corner.row + BLOCK, ..corner }
    }

    /// Views of `count` blocks from `block` on.
    pub(crate) fn views(&self, block: usize, count: usize) -> impl Iterator<Item = View> {
        (block..block + count).map(|b| self.view(b))
    }

    /// The run of `images` images from `first` on.
    pub(crate) fn images(&self, first: usize, images: usize) -> Self {
        Self { first: self.first + first, images, ..self.clone() }
    }
}

/// Number of cache lines for a plane of `lines`, chosen so that the same row of all planes, which a product tile reads
/// together, does not fall into the same few sets of a first-level cache of 64 sets. Planes of 14×14 with their border
/// would.
fn spread(lines: usize) -> usize {
    let good = |n: &usize| n % 2 == 1 && (13..52).contains(&(n % 64));
    (lines..lines + 64).find(good).unwrap_or(lines)
}
