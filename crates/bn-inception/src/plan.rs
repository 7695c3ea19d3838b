//! Channel plans: the number of filters in every branch of every block.
//!
//! Figure 5 of the paper is data here. Changing one width means changing one cell of one table.

use serde::{Deserialize, Serialize};

/// The pooling branch of an inception block (Figure 5, column "Pool + proj").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolBranch {
    /// 3x3 average pooling, then a 1x1 projection to this many channels.
    Average(usize),
    /// 3x3 max pooling, then a 1x1 projection to this many channels.
    Max(usize),
    /// 3x3 max pooling with the block's stride, passed through without a projection.
    MaxPassThrough,
    /// No pooling branch.
    Absent,
}

/// One row of a channel plan. A width of 0 means that the convolution does not exist; a `reduce` of 0 means that the
/// 3x3 convolution reads the block's input directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlan {
    /// The paper's name of the block: `3a` … `5b`.
    pub name: &'static str,
    /// Stride, 1 or 2; a block of stride 2 halves height and width.
    pub stride: usize,
    /// Channels of the 1x1 branch.
    pub conv_1x1: usize,
    /// Channels of the 1x1 reduction before the 3x3 convolution.
    pub reduce_3x3: usize,
    /// Channels of the 3x3 convolution.
    pub conv_3x3: usize,
    /// Channels of the 1x1 reduction before the double 3x3 branch.
    pub reduce_double: usize,
    /// Channels of both 3x3 convolutions of the double branch.
    pub conv_double: usize,
    /// The pooling branch.
    pub pool: PoolBranch,
}

/// The layers before the first inception block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StemPlan {
    /// 7x7/2 convolution, max pool, 1x1 reduction, 3x3 convolution, max pool (Figure 5), with `[conv1, reduce, conv2]`
    /// channels.
    ImageNet([usize; 3]),
    /// One 3x3/1 convolution without pooling, for images of about 28 pixels.
    Small(usize),
}

/// A channel plan, named after its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelPlan {
    /// Branch widths of the paper's Figure 5 taken literally: blocks 4c and 4d have 608 output channels.
    Literal608,
    /// Pool projections of 4c and 4d 96 wide, which gives every printed output depth (576).
    Consistent576,
    /// MXNet's Inception-BN for 28-pixel inputs: 1x1 and 3x3 branches only.
    Small,
}

use PoolBranch::{Absent, Average, Max, MaxPassThrough};

/// Names of the inception blocks in every channel plan, in forward order.
pub(crate) const BLOCK_NAMES: [&str; 10] = ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"];

const fn row(
    name: &'static str,
    stride: usize,
    conv_1x1: usize,
    [reduce_3x3, conv_3x3]: [usize; 2],
    [reduce_double, conv_double]: [usize; 2],
    pool: PoolBranch,
) -> BlockPlan {
    BlockPlan { name, stride, conv_1x1, reduce_3x3, conv_3x3, reduce_double, conv_double, pool }
}

#[rustfmt::skip]
const LITERAL_608: [BlockPlan; 10] = [
    //   block stride 1x1  3x3 (reduce, out)  double 3x3   pool
    row("3a", 1,  64, [ 64,  64], [ 64,  96], Average(32)),
    row("3b", 1,  64, [ 64,  96], [ 64,  96], Average(64)),
    row("3c", 2,   0, [128, 160], [ 64,  96], MaxPassThrough),
    row("4a", 1, 224, [ 64,  96], [ 96, 128], Average(128)),
    row("4b", 1, 192, [ 96, 128], [ 96, 128], Average(128)),
    row("4c", 1, 160, [128, 160], [128, 160], Average(128)),
    row("4d", 1,  96, [128, 192], [160, 192], Average(128)),
    row("4e", 2,   0, [128, 192], [192, 256], MaxPassThrough),
    row("5a", 1, 352, [192, 320], [160, 224], Average(128)),
    row("5b", 1, 352, [192, 320], [192, 224], Max(128)),
];

/// The same except for the projections of 4c and 4d.
const CONSISTENT_576: [BlockPlan; 10] = {
    let mut blocks = LITERAL_608;
    blocks[5].pool = Average(96);
    blocks[6].pool = Average(96);
    blocks
};

#[rustfmt::skip]
const SMALL: [BlockPlan; 10] = [
    row("3a", 1,  32, [0,  32], [0, 0], Absent),
    row("3b", 1,  32, [0,  48], [0, 0], Absent),
    row("3c", 2,   0, [0,  80], [0, 0], MaxPassThrough),
    row("4a", 1, 112, [0,  48], [0, 0], Absent),
    row("4b", 1,  96, [0,  64], [0, 0], Absent),
    row("4c", 1,  80, [0,  80], [0, 0], Absent),
    row("4d", 1,  48, [0,  96], [0, 0], Absent),
    row("4e", 2,   0, [0,  96], [0, 0], MaxPassThrough),
    row("5a", 1, 176, [0, 160], [0, 0], Absent),
    row("5b", 1, 176, [0, 160], [0, 0], Absent),
];

impl ChannelPlan {
    /// The ten inception blocks, 3a to 5b, in order.
    pub fn blocks(self) -> &'static [BlockPlan; 10] {
        match self {
            ChannelPlan::Literal608 => &LITERAL_608,
            ChannelPlan::Consistent576 => &CONSISTENT_576,
            ChannelPlan::Small => &SMALL,
        }
    }

    /// The layers before block 3a.
    pub fn stem(self) -> StemPlan {
        match self {
            ChannelPlan::Literal608 | ChannelPlan::Consistent576 => StemPlan::ImageNet([64, 64, 192]),
            ChannelPlan::Small => StemPlan::Small(96),
        }
    }
}

impl BlockPlan {
    /// The same block with `scale` applied to every width; absent convolutions stay absent.
    pub fn scaled(self, scale: impl Fn(usize) -> usize) -> Self {
        let width = |channels: usize| if channels == 0 { 0 } else { scale(channels) };
        Self {
            conv_1x1: width(self.conv_1x1),
            reduce_3x3: width(self.reduce_3x3),
            conv_3x3: width(self.conv_3x3),
            reduce_double: width(self.reduce_double),
            conv_double: width(self.conv_double),
            pool: match self.pool {
                Average(projection) => Average(width(projection)),
                Max(projection) => Max(width(projection)),
                other => other,
            },
            ..self
        }
    }
}
