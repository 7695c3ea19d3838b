//! A folded network as plain numbers.

use thiserror::Error;

/// Why a [`Network`] cannot be run, or not with these extents.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A weight, a bias, an image or the logits have the wrong number of elements.
    #[error("{layer}: {what} holds {found} elements, expected {expected}")]
    Length {
        /// The layer's name, or `"forward"`.
        layer: String,
        /// Which of its buffers.
        what: &'static str,
        /// Elements asked for.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// A layer cannot be where it is.
    #[error("{layer}: {what} is {found}, expected {expected}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// Which property.
        what: &'static str,
        /// The value expected.
        expected: usize,
        /// The value found.
        found: usize,
    },
    /// The image leaves no pixel in front of this layer.
    #[error("{layer}: an image of {height} by {width} pixels is too small")]
    TooSmall {
        /// The first layer whose window does not fit.
        layer: String,
        /// Height of the image.
        height: usize,
        /// Width of the image.
        width: usize,
    },
    /// Tensor sizes exceed the address space.
    #[error("a batch of {batch} images of {height} by {width} pixels does not fit into memory")]
    TooLarge {
        /// Images.
        batch: usize,
        /// Height of an image.
        height: usize,
        /// Width of an image.
        width: usize,
    },
    /// An instruction set that the processor does not have, or an unknown name.
    #[error("instruction set {name:?}, asked for by BN_INCEPTION_ISA or the engine's options, is not one of those this processor can run: {}", available.join(", "))]
    InstructionSet {
        /// The name asked for.
        name: String,
        /// The names there are, best first.
        available: Vec<&'static str>,
    },
}

/// A convolution with a bias, after folding its batch normalisation into both.
///
/// Always followed by a ReLU, whatever is between (only an average pool is, see [`Pool::Average`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Filters, `[out_channels, in_channels, kernel, kernel]`, row-major.
    pub weight: Vec<f32>,
    /// One value per output channel.
    pub bias: Vec<f32>,
    /// Channels read.
    pub in_channels: usize,
    /// Channels written.
    pub out_channels: usize,
    /// Height and width of a filter: 1, 3 or 7.
    pub kernel: usize,
}

impl Conv {
    /// The single convolution that equals a depthwise one with a depth multiplier followed, with nothing between,
    /// by a 1×1: the separable stem. Products are summed in `f64`.
    ///
    /// `depthwise` is `[in_channels · multiplier, 1, kernel, kernel]`, `pointwise` is
    /// `[out_channels, in_channels · multiplier]`, `bias` is `[out_channels]`.
    ///
    /// # Errors
    /// [`NetworkError::Length`] if the slices do not have these lengths.
    pub fn from_separable(
        depthwise: &[f32],
        pointwise: &[f32],
        bias: &[f32],
        in_channels: usize,
        multiplier: usize,
        kernel: usize,
    ) -> Result<Self, NetworkError> {
        let (taps, middle) = (kernel * kernel, in_channels * multiplier);
        let length = |what, expected, found| match expected == found {
            true => Ok(()),
            false => Err(NetworkError::Length {
                layer: "separable".to_owned(),
                what,
                expected,
                found,
            }),
        };
        length("depthwise weight", middle * taps, depthwise.len())?;
        length("pointwise weight", bias.len() * middle, pointwise.len())?;
        let mut weight = Vec::with_capacity(bias.len() * in_channels * taps);
        for o in 0..bias.len() {
            for i in 0..in_channels {
                for t in 0..taps {
                    let sum: f64 = (i * multiplier..(i + 1) * multiplier)
                        .map(|m| {
                            f64::from(pointwise[o * middle + m])
                                * f64::from(depthwise[m * taps + t])
                        })
                        .sum();
                    weight.push(sum as f32);
                }
            }
        }
        Ok(Self {
            weight,
            bias: bias.to_vec(),
            in_channels,
            out_channels: bias.len(),
            kernel,
        })
    }

    fn check(&self, layer: &str, in_channels: usize, kernel: usize) -> Result<usize, NetworkError> {
        let is = |what, expected, found| match expected == found {
            true => Ok(()),
            false => Err(NetworkError::Layer {
                layer: layer.to_owned(),
                what,
                expected,
                found,
            }),
        };
        is("in_channels", in_channels, self.in_channels)?;
        is("kernel", kernel, self.kernel)?;
        if self.out_channels == 0 {
            is("out_channels", 1, 0)?;
        }
        let taps = in_channels.saturating_mul(kernel * kernel);
        for (what, expected, found) in [
            (
                "weight",
                self.out_channels.saturating_mul(taps),
                self.weight.len(),
            ),
            ("bias", self.out_channels, self.bias.len()),
        ] {
            if expected != found {
                return Err(NetworkError::Length {
                    layer: layer.to_owned(),
                    what,
                    expected,
                    found,
                });
            }
        }
        Ok(self.out_channels)
    }
}

/// Padding `(before, after)` of the windows of a stride-2 layer, along a dimension of an even and of an odd
/// number of pixels. Every published rule depends on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// For an even number of pixels.
    pub even: (usize, usize),
    /// For an odd number of pixels.
    pub odd: (usize, usize),
}

impl Placement {
    /// The same padding for all sizes.
    pub const fn both(before: usize, after: usize) -> Self {
        Self {
            even: (before, after),
            odd: (before, after),
        }
    }

    pub(crate) fn of(self, size: usize) -> (usize, usize) {
        if size.is_multiple_of(2) {
            self.even
        } else {
            self.odd
        }
    }

    fn check(self, layer: &str, limit: usize) -> Result<(), NetworkError> {
        let widest = [self.even.0, self.even.1, self.odd.0, self.odd.1]
            .into_iter()
            .max()
            .unwrap_or(0);
        match widest <= limit {
            true => Ok(()),
            false => Err(NetworkError::Layer {
                layer: layer.to_owned(),
                what: "padding",
                expected: limit,
                found: widest,
            }),
        }
    }
}

/// Number of whole windows along a dimension, `None` if not even one fits.
pub(crate) fn windows(
    size: usize,
    kernel: usize,
    stride: usize,
    (before, after): (usize, usize),
) -> Option<usize> {
    Some((size + before + after).checked_sub(kernel)? / stride + 1)
}

/// The layers in front of the first block.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // there is one per network
pub enum Stem {
    /// 7×7/2 convolution, 3×3/2 max pool, 1×1, 3×3/1, 3×3/2 max pool.
    ImageNet {
        /// The 7×7/2 convolution of the three image channels; a separable one through [`Conv::from_separable`].
        conv1: Conv,
        /// Its padding, at most 3.
        padding: Placement,
        /// Both max pools' padding, at most 1. The border never wins.
        pool: Placement,
        /// 1×1 convolution.
        reduce: Conv,
        /// 3×3 convolution, padded by 1.
        conv2: Conv,
    },
    /// One 3×3/1 convolution of the three image channels, padded by 1.
    Small(Conv),
}

/// The pooling branch of a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Pool {
    /// No such branch.
    Absent,
    /// 3×3 max pool with the block's stride, handed on as it is.
    MaxPassThrough,
    /// 3×3 max pool with the block's stride, then a 1×1 convolution.
    Max(Conv),
    /// 3×3/1 average pool padded by 1, then a 1×1 convolution. Needs stride 1.
    Average(Conv),
}

/// An inception block: up to four branches over one input, concatenated in the order 1×1, 3×3, double 3×3, pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// For errors and reports: `3a` … `5b`.
    pub name: String,
    /// 1 or 2. The 3×3 of the 3×3 branch, the second 3×3 of the double branch and the max pool have it.
    pub stride: usize,
    /// The 1×1 branch; absent in blocks of stride 2.
    pub conv_1x1: Option<Conv>,
    /// 1×1 in front of the 3×3.
    pub reduce_3x3: Option<Conv>,
    /// The 3×3 branch.
    pub conv_3x3: Conv,
    /// 1×1 in front of the double 3×3.
    pub reduce_double: Option<Conv>,
    /// The double 3×3 branch; the first convolution has stride 1.
    pub conv_double: Option<[Conv; 2]>,
    /// The pooling branch.
    pub pool: Pool,
}

/// Global average pool, then a linear map to the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `[classes, channels]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

/// A folded BN-Inception network. The module documentation says how each preset becomes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The layers in front of the first block.
    pub stem: Stem,
    /// The inception blocks in order, any number of them.
    pub blocks: Vec<Block>,
    /// Padding, at most 1, of the 3×3/2 convolutions in blocks of stride 2. Stride-1 ones are padded by 1.
    pub block_padding: Placement,
    /// Padding, at most 1, of the 3×3/2 max pools in blocks of stride 2. Stride-1 ones are padded by 1.
    pub block_pool: Placement,
    /// Whether the zero border counts in the divisor of the average pools.
    pub average_includes_padding: bool,
    /// What follows the last block.
    pub classifier: Linear,
}

impl Network {
    /// Length of the logits.
    pub fn classes(&self) -> usize {
        self.classifier.bias.len()
    }

    /// Padding of a 3×3 convolution of a block, for `[height, width]`.
    pub(crate) fn conv_padding(&self, stride: usize, size: [usize; 2]) -> [(usize, usize); 2] {
        match stride {
            1 => [(1, 1); 2],
            _ => size.map(|s| self.block_padding.of(s)),
        }
    }

    /// Padding of a 3×3 max pool of a block, for `[height, width]`.
    pub(crate) fn pool_padding(&self, stride: usize, size: [usize; 2]) -> [(usize, usize); 2] {
        match stride {
            1 => [(1, 1); 2],
            _ => size.map(|s| self.block_pool.of(s)),
        }
    }

    /// Checks every length, channel count and padding.
    ///
    /// # Errors
    /// [`NetworkError::Layer`] or [`NetworkError::Length`], naming the first layer that does not fit.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let mut channels = match &self.stem {
            Stem::Small(conv) => conv.check("stem", 3, 3)?,
            Stem::ImageNet {
                conv1,
                padding,
                pool,
                reduce,
                conv2,
            } => {
                padding.check("stem.conv1", 3)?;
                pool.check("stem.pool", 1)?;
                let c = conv1.check("stem.conv1", 3, 7)?;
                let c = reduce.check("stem.reduce", c, 1)?;
                conv2.check("stem.conv2", c, 3)?
            }
        };
        self.block_padding.check("block_padding", 1)?;
        self.block_pool.check("block_pool", 1)?;
        for block in &self.blocks {
            channels = self.check_block(block, channels)?;
        }
        let found = self.classifier.weight.len();
        let expected = channels.saturating_mul(self.classes());
        if found != expected || found == 0 {
            return Err(NetworkError::Length {
                layer: "classifier".to_owned(),
                what: "weight",
                expected,
                found,
            });
        }
        Ok(())
    }

    fn check_block(&self, block: &Block, channels: usize) -> Result<usize, NetworkError> {
        let layer = |name: &str| format!("{}.{name}", block.name);
        let is = |what, expected, found| match expected == found {
            true => Ok(()),
            false => Err(NetworkError::Layer {
                layer: block.name.clone(),
                what,
                expected,
                found,
            }),
        };
        if block.stride != 1 {
            is("stride", 2, block.stride)?;
            is(
                "number of 1x1 branches beside stride 2",
                0,
                usize::from(block.conv_1x1.is_some()),
            )?;
            is(
                "number of average pools beside stride 2",
                0,
                usize::from(matches!(block.pool, Pool::Average(_))),
            )?;
            if block.pool != Pool::Absent {
                // Any even and any odd size stands for all of them.
                for size in [8, 9] {
                    is(
                        "height of the pool's output (9 or 8 rows in)",
                        windows(size, 3, 2, self.block_padding.of(size)).unwrap_or(0),
                        windows(size, 3, 2, self.block_pool.of(size)).unwrap_or(0),
                    )?;
                }
            }
        }
        let optional = |conv: &Option<Conv>, name: &str| match conv {
            Some(conv) => conv.check(&layer(name), channels, 1),
            None => Ok(0),
        };
        let or_input = |reduced| if reduced == 0 { channels } else { reduced };
        let mut out = optional(&block.conv_1x1, "conv_1x1")?;
        let reduced = or_input(optional(&block.reduce_3x3, "reduce_3x3")?);
        out += block.conv_3x3.check(&layer("conv_3x3"), reduced, 3)?;
        let reduced = or_input(optional(&block.reduce_double, "reduce_double")?);
        if let Some([first, second]) = &block.conv_double {
            let c = first.check(&layer("conv_double_1"), reduced, 3)?;
            out += second.check(&layer("conv_double_2"), c, 3)?;
        } else {
            is(
                "number of reductions without a double branch",
                0,
                usize::from(block.reduce_double.is_some()),
            )?;
        }
        out += match &block.pool {
            Pool::Absent => 0,
            Pool::MaxPassThrough => channels,
            Pool::Max(conv) | Pool::Average(conv) => {
                conv.check(&layer("pool_projection"), channels, 1)?
            }
        };
        Ok(out)
    }
}
