//! Folded networks with random weights, one for each published variant.
#![allow(dead_code)]

use super::common::random;
use bn_inception_kernels::infer::{Block, Conv, Linear, Network, Placement, Pool, Stem};

pub struct Variant {
    pub name: &'static str,
    pub small: bool,
    pub literal: bool,
    pub stem_padding: Placement,
    pub stem_pool: Placement,
    pub block_padding: Placement,
    pub block_pool: Placement,
    pub average_includes_padding: bool,
}

const SYMMETRIC: Placement = Placement::both(1, 1);
const SAME: Placement = Placement {
    even: (0, 1),
    odd: (1, 1),
};
const CEIL: Placement = Placement {
    even: (0, 1),
    odd: (0, 0),
};

pub const VARIANTS: [Variant; 5] = [
    Variant {
        name: "caffe",
        small: false,
        literal: true,
        stem_padding: Placement::both(3, 3),
        stem_pool: CEIL,
        block_padding: SYMMETRIC,
        block_pool: SAME,
        average_includes_padding: true,
    },
    Variant {
        name: "tf_slim",
        small: false,
        literal: false,
        stem_padding: Placement {
            even: (2, 3),
            odd: (3, 3),
        },
        stem_pool: SAME,
        block_padding: SAME,
        block_pool: SAME,
        average_includes_padding: false,
    },
    Variant {
        name: "mxnet",
        small: false,
        literal: true,
        stem_padding: Placement::both(3, 3),
        stem_pool: Placement::both(0, 0),
        block_padding: SYMMETRIC,
        block_pool: SYMMETRIC,
        average_includes_padding: true,
    },
    Variant {
        name: "padded",
        small: false,
        literal: false,
        stem_padding: Placement::both(3, 3),
        stem_pool: SYMMETRIC,
        block_padding: SYMMETRIC,
        block_pool: SAME,
        average_includes_padding: false,
    },
    Variant {
        name: "small",
        small: true,
        literal: true,
        stem_padding: Placement::both(1, 1),
        stem_pool: SYMMETRIC,
        block_padding: SYMMETRIC,
        block_pool: SYMMETRIC,
        average_includes_padding: true,
    },
];

/// Name, stride, 1×1, 3×3 (reduce, out), double (reduce, out), pool: positive for average, negative for max, 0 for none
/// or pass-through.
type Row = (&'static str, usize, usize, [usize; 2], [usize; 2], isize);

#[rustfmt::skip]
const FULL: [Row; 10] = [
    ("3a", 1,  64, [ 64,  64], [ 64,  96], 32),
    ("3b", 1,  64, [ 64,  96], [ 64,  96], 64),
    ("3c", 2,   0, [128, 160], [ 64,  96], 0),
    ("4a", 1, 224, [ 64,  96], [ 96, 128], 128),
    ("4b", 1, 192, [ 96, 128], [ 96, 128], 128),
    ("4c", 1, 160, [128, 160], [128, 160], 128),
    ("4d", 1,  96, [128, 192], [160, 192], 128),
    ("4e", 2,   0, [128, 192], [192, 256], 0),
    ("5a", 1, 352, [192, 320], [160, 224], 128),
    ("5b", 1, 352, [192, 320], [192, 224], -128),
];

#[rustfmt::skip]
const SMALL: [Row; 10] = [
    ("3a", 1,  32, [0,  32], [0, 0], 0),
    ("3b", 1,  32, [0,  48], [0, 0], 0),
    ("3c", 2,   0, [0,  80], [0, 0], 0),
    ("4a", 1, 112, [0,  48], [0, 0], 0),
    ("4b", 1,  96, [0,  64], [0, 0], 0),
    ("4c", 1,  80, [0,  80], [0, 0], 0),
    ("4d", 1,  48, [0,  96], [0, 0], 0),
    ("4e", 2,   0, [0,  96], [0, 0], 0),
    ("5a", 1, 176, [0, 160], [0, 0], 0),
    ("5b", 1, 176, [0, 160], [0, 0], 0),
];

/// Network of a variant, with channel counts times `width`, rounded to multiples of 8.
pub fn network(variant: &Variant, width: f64, classes: usize) -> Network {
    let scaled = |channels: usize| match channels {
        0 => 0,
        c => 8 * ((c as f64 * width / 8.0).round() as usize).max(1),
    };
    let mut seed = 0;
    let mut conv = |from: usize, to: usize, kernel: usize| {
        seed += 1;
        let fan_in = from * kernel * kernel;
        let deviation = (2.0 / fan_in as f32).sqrt();
        let weight = random(to * fan_in, seed).into_iter().map(|w| w * deviation);
        Conv {
            weight: weight.collect(),
            bias: random(to, seed + 1000)
                .into_iter()
                .map(|b| b * 0.1)
                .collect(),
            in_channels: from,
            out_channels: to,
            kernel,
        }
    };
    let (stem, mut channels) = if variant.small {
        (Stem::Small(conv(3, scaled(96), 3)), scaled(96))
    } else {
        let [first, reduce, last] = [64, 64, 192].map(scaled);
        let stem = Stem::ImageNet {
            conv1: conv(3, first, 7),
            padding: variant.stem_padding,
            pool: variant.stem_pool,
            reduce: conv(first, reduce, 1),
            conv2: conv(reduce, last, 3),
        };
        (stem, last)
    };
    let rows = if !variant.small {
        &FULL[..]
    } else if cfg!(miri) {
        // Blocks of stride 1 and 2; more would take Miri too long.
        &SMALL[..3]
    } else {
        &SMALL
    };
    let mut blocks = Vec::new();
    for &(name, stride, conv_1x1, three, double, pool) in rows {
        let [conv_1x1, r3, c3, rd, cd] =
            [conv_1x1, three[0], three[1], double[0], double[1]].map(scaled);
        let mut optional = |to: usize| (to > 0).then(|| conv(channels, to, 1));
        let conv_1x1 = optional(conv_1x1);
        let reduce_3x3 = optional(r3);
        let reduce_double = optional(rd);
        let projection = match (name, variant.literal) {
            ("4c" | "4d", false) if pool != 0 => 96,
            _ => pool.unsigned_abs(),
        };
        let pool = match (pool, stride) {
            (0, 2) => Pool::MaxPassThrough,
            (0, _) => Pool::Absent,
            (p, _) if p > 0 => Pool::Average(conv(channels, scaled(projection), 1)),
            _ => Pool::Max(conv(channels, scaled(projection), 1)),
        };
        let or_input = |reduced: usize| if reduced > 0 { reduced } else { channels };
        let block = Block {
            name: name.to_owned(),
            stride,
            conv_1x1,
            reduce_3x3,
            conv_3x3: conv(or_input(r3), c3, 3),
            reduce_double,
            conv_double: (cd > 0).then(|| [conv(or_input(rd), cd, 3), conv(cd, cd, 3)]),
            pool,
        };
        channels = out_channels(&block, channels);
        blocks.push(block);
    }
    Network {
        stem,
        blocks,
        block_padding: variant.block_padding,
        block_pool: variant.block_pool,
        average_includes_padding: variant.average_includes_padding,
        classifier: Linear {
            weight: random(classes * channels, 5000)
                .into_iter()
                .map(|w| w / (channels as f32).sqrt())
                .collect(),
            bias: random(classes, 5001),
        },
    }
}

fn out_channels(block: &Block, channels: usize) -> usize {
    let width = |conv: &Conv| conv.out_channels;
    block.conv_1x1.as_ref().map_or(0, width)
        + width(&block.conv_3x3)
        + block.conv_double.as_ref().map_or(0, |pair| width(&pair[1]))
        + match &block.pool {
            Pool::Absent => 0,
            Pool::MaxPassThrough => channels,
            Pool::Max(conv) | Pool::Average(conv) => width(conv),
        }
}
