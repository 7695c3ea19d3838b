//! Folded networks with random weights, one for each published variant.
#![allow(dead_code)]

use super::common::random;
use bn_inception_kernels::infer::{Conv, Layer, Linear, Network, Operation, Placement};

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
const SAME: Placement = Placement { even: (0, 1), odd: (1, 1) };
const CEIL: Placement = Placement { even: (0, 1), odd: (0, 0) };

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
        stem_padding: Placement { even: (2, 3), odd: (3, 3) },
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

/// Layers with random weights, and the channels of each one's output.
#[derive(Default)]
struct Layers {
    layers: Vec<Layer>,
    channels: Vec<usize>,
    /// Number of convolutions so far, the seed of the next one.
    convs: u64,
}

impl Layers {
    fn push(&mut self, name: &str, inputs: &[usize], channels: usize, op: Operation) -> usize {
        self.layers.push(Layer { name: name.to_owned(), inputs: inputs.to_vec(), operation: op });
        self.channels.push(channels);
        self.layers.len() - 1
    }

    /// A convolution of layer `input`, or of the images.
    fn conv(
        &mut self,
        name: &str,
        input: Option<usize>,
        out_channels: usize,
        (kernel, stride, padding): (usize, usize, Placement),
    ) -> usize {
        self.convs += 1;
        let in_channels = input.map_or(3, |input| self.channels[input]);
        let fan_in = in_channels * kernel * kernel;
        let deviation = (2.0 / fan_in as f32).sqrt();
        let weight = random(out_channels * fan_in, self.convs);
        let bias = random(out_channels, self.convs + 1000);
        let conv = Conv {
            weight: weight.into_iter().map(|w| w * deviation).collect(),
            bias: bias.into_iter().map(|b| b * 0.1).collect(),
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        };
        let inputs: Vec<usize> = input.into_iter().collect();
        self.push(name, &inputs, out_channels, Operation::Conv(conv))
    }

    /// A 1×1 convolution; none for 0 channels.
    fn pointwise(&mut self, name: &str, input: usize, channels: usize) -> Option<usize> {
        let window = (1, 1, Placement::both(0, 0));
        (channels > 0).then(|| self.conv(name, Some(input), channels, window))
    }

    fn max_pool(&mut self, name: &str, input: usize, stride: usize, padding: Placement) -> usize {
        let op = Operation::MaxPool { stride, padding };
        self.push(name, &[input], self.channels[input], op)
    }
}

/// Network of a variant, with channel counts times `width`, rounded to multiples of 8.
pub fn network(variant: &Variant, width: f64, classes: usize) -> Network {
    // Under Miri blocks of stride 1 and 2 only; more would take it too long.
    let blocks = if cfg!(miri) && variant.small { 3 } else { 10 };
    first_blocks(variant, blocks, width, classes)
}

/// [`network`] with the classifier after the given number of blocks.
pub fn first_blocks(variant: &Variant, blocks: usize, width: f64, classes: usize) -> Network {
    let scaled = |channels: usize| match channels {
        0 => 0,
        c => 8 * ((c as f64 * width / 8.0).round() as usize).max(1),
    };
    let mut all = Layers::default();
    let three = (3, 1, SYMMETRIC);
    let mut x = if variant.small {
        all.conv("stem.conv1", None, scaled(96), three)
    } else {
        let conv1 = (7, 2, variant.stem_padding);
        let x = all.conv("stem.conv1", None, scaled(64), conv1);
        let x = all.max_pool("stem.pool1", x, 2, variant.stem_pool);
        let reduce = all.pointwise("stem.conv2_reduce", x, scaled(64));
        let x = all.conv("stem.conv2", reduce, scaled(192), three);
        all.max_pool("stem.pool2", x, 2, variant.stem_pool)
    };
    let rows = if variant.small { &SMALL } else { &FULL };
    for &(name, stride, conv_1x1, [reduce_3x3, conv_3x3], [reduce_double, conv_double], pool) in &rows[..blocks] {
        let unit = |part: &str| format!("{name}.{part}");
        let (conv_padding, pool_padding) = match stride {
            1 => (SYMMETRIC, SYMMETRIC),
            _ => (variant.block_padding, variant.block_pool),
        };
        let conv_1x1 = all.pointwise(&unit("conv_1x1"), x, scaled(conv_1x1));
        let reduce_3x3 = all.pointwise(&unit("reduce_3x3"), x, scaled(reduce_3x3));
        let reduce_double = all.pointwise(&unit("reduce_double"), x, scaled(reduce_double));
        let projection = match (name, variant.literal) {
            ("4c" | "4d", false) if pool != 0 => 96,
            _ => pool.unsigned_abs(),
        };
        let pool = match (pool, stride) {
            (0, 1) => None,
            (1.., _) => {
                let includes_padding = variant.average_includes_padding;
                let average = Operation::AveragePool { includes_padding };
                Some(all.push(&unit("pool"), &[x], all.channels[x], average))
            }
            _ => Some(all.max_pool(&unit("pool"), x, stride, pool_padding)),
        };
        let pool = pool.map(|pool| all.pointwise(&unit("pool_projection"), pool, scaled(projection)).unwrap_or(pool));
        let strided = (3, stride, conv_padding);
        let from = reduce_3x3.or(Some(x));
        let conv_3x3 = all.conv(&unit("conv_3x3"), from, scaled(conv_3x3), strided);
        let double = (conv_double > 0).then(|| {
            let (from, channels) = (reduce_double.or(Some(x)), scaled(conv_double));
            let first = all.conv(&unit("conv_double_1"), from, channels, three);
            all.conv(&unit("conv_double_2"), Some(first), channels, strided)
        });
        let branches = [conv_1x1, Some(conv_3x3), double, pool];
        let branches: Vec<usize> = branches.into_iter().flatten().collect();
        let channels = branches.iter().map(|&branch| all.channels[branch]).sum();
        x = all.push(name, &branches, channels, Operation::Concat);
    }
    let channels = all.channels[x];
    let weight = random(classes * channels, 5000);
    let classifier = Linear {
        weight: weight.into_iter().map(|w| w / (channels as f32).sqrt()).collect(),
        bias: random(classes, 5001),
    };
    all.push("classifier", &[x], classes, Operation::Classifier(classifier));
    Network { layers: all.layers }
}

/// The convolution of a name.
pub fn conv_mut<'a>(network: &'a mut Network, name: &str) -> &'a mut Conv {
    let mut layers = network.layers.iter_mut();
    match layers.find(|l| l.name == name).map(|l| &mut l.operation) {
        Some(Operation::Conv(conv)) => conv,
        _ => panic!("no convolution {name}"),
    }
}
