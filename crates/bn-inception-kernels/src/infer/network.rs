//! Description of a folded network: plain numbers.

use thiserror::Error;

/// Invalid [`Network`], or inputs and options it cannot run with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Wrong number of elements of a weight, a bias, the images or the logits.
    #[error("{layer}: {what} holds {found} elements, expected {expected}")]
    Length {
        /// The layer's name, or `"forward"`.
        layer: String,
        /// Name of the buffer.
        what: &'static str,
        /// Required number of elements.
        expected: usize,
        /// Actual number of elements.
        found: usize,
    },
    /// Property of a layer that does not fit its position in the network.
    #[error("{layer}: {what} is {found}, expected {expected}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// Name of the property.
        what: &'static str,
        /// Required value.
        expected: usize,
        /// Actual value.
        found: usize,
    },
    /// Image too small for the window of a layer.
    #[error("{layer}: an image of {height} by {width} pixels is too small")]
    TooSmall {
        /// Name of the first layer whose window does not fit.
        layer: String,
        /// Height of the image.
        height: usize,
        /// Width of the image.
        width: usize,
    },
    /// Tensor sizes beyond the address space.
    #[error("a batch of {batch} images of {height} by {width} pixels does not fit into memory")]
    TooLarge {
        /// Number of images.
        batch: usize,
        /// Height of an image.
        height: usize,
        /// Width of an image.
        width: usize,
    },
    /// Instruction set with an unknown name or not available on the processor.
    #[error("instruction set {name:?}, requested by BN_INCEPTION_ISA or the engine options, is not available on this processor; available: {}", available.join(", "))]
    InstructionSet {
        /// Requested name.
        name: String,
        /// Names of the available instruction sets, best first.
        available: Vec<&'static str>,
    },
}

/// A convolution with bias, with its batch normalisation folded into both.
///
/// A ReLU always follows, directly or, in [`Pool::Average`], after the average pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// FilterCache, `[out_channels, in_channels, kernel, kernel]`, row-major.
    pub weight: Vec<f32>,
    /// Bias, one value per output channel.
    pub bias: Vec<f32>,
    /// Number of input channels.
    pub in_channels: usize,
    /// Number of output channels.
    pub out_channels: usize,
    /// Height and width of a filter: 1, 3 or 7.
    pub kernel: usize,
}

impl Conv {
    /// Convolution equivalent to a depthwise convolution with a depth multiplier directly followed by a 1×1: the
    /// separable stem. Products are summed in `f64`.
    ///
    /// `depthwise` is `[in_channels · multiplier, 1, kernel, kernel]`, `pointwise` is
    /// `[out_channels, in_channels · multiplier]`, `bias` is `[out_channels]`.
    ///
    /// # Errors
    /// [`NetworkError::Length`] for a slice of another length.
    pub fn from_separable(
        depthwise: &[f32],
        pointwise: &[f32],
        bias: &[f32],
        in_channels: usize,
        multiplier: usize,
        kernel: usize,
    ) -> Result<Self, NetworkError> {
        let (taps, middle) = (kernel * kernel, in_channels * multiplier);
        let length = |what, expected, found| {
            if expected == found {
                Ok(())
            } else {
                Err(NetworkError::Length {
                    layer: "separable".to_owned(),
                    what,
                    expected,
                    found,
                })
            }
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
        let is = |what, expected, found| require(layer, what, expected, found);
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

/// Error unless a property of a layer has the expected value.
fn require(
    layer: &str,
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), NetworkError> {
    if expected == found {
        Ok(())
    } else {
        Err(NetworkError::Layer {
            layer: layer.to_owned(),
            what,
            expected,
            found,
        })
    }
}

/// Padding `(before, after)` of the windows of a stride-2 layer, along a dimension with an even and with an odd number
/// of pixels. All published rules depend on parity only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Padding of an even number of pixels.
    pub even: (usize, usize),
    /// Padding of an odd number of pixels.
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
        if widest <= limit {
            Ok(())
        } else {
            Err(NetworkError::Layer {
                layer: layer.to_owned(),
                what: "padding",
                expected: limit,
                found: widest,
            })
        }
    }
}

/// Number of complete windows along a dimension, `None` if there is none.
pub(crate) fn windows(
    size: usize,
    kernel: usize,
    stride: usize,
    (before, after): (usize, usize),
) -> Option<usize> {
    Some((size + before + after).checked_sub(kernel)? / stride + 1)
}

/// The layers before the first block.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // there is one per network
pub enum Stem {
    /// 7×7/2 convolution, 3×3/2 max pool, 1×1, 3×3/1, 3×3/2 max pool.
    ImageNet {
        /// 7×7/2 convolution of the three image channels; [`Conv::from_separable`] converts a separable one.
        conv1: Conv,
        /// Padding of `conv1`, at most 3.
        padding: Placement,
        /// Padding of both max pools, at most 1. It never is the maximum.
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
    /// No pooling branch.
    Absent,
    /// 3×3 max pool with the block's stride, without a projection.
    MaxPassThrough,
    /// 3×3 max pool with the block's stride, then a 1×1 convolution.
    Max(Conv),
    /// 3×3/1 average pool padded by 1, then a 1×1 convolution. Needs stride 1.
    Average(Conv),
}

/// An inception block: up to four branches over one input, concatenated in the order 1×1, 3×3, double 3×3, pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Name for errors and profiles: `3a` … `5b`.
    pub name: String,
    /// Stride, 1 or 2, of the 3×3 of the 3×3 branch, the second 3×3 of the double branch and the max pool.
    pub stride: usize,
    /// The 1×1 branch; absent in blocks of stride 2.
    pub conv_1x1: Option<Conv>,
    /// 1×1 convolution before the 3×3.
    pub reduce_3x3: Option<Conv>,
    /// The 3×3 branch.
    pub conv_3x3: Conv,
    /// 1×1 convolution before the double 3×3.
    pub reduce_double: Option<Conv>,
    /// The double 3×3 branch; the first convolution has stride 1.
    pub conv_double: Option<[Conv; 2]>,
    /// The pooling branch.
    pub pool: Pool,
}

/// Global average pool, then a linear map to the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Weight, `[classes, channels]`, row-major.
    pub weight: Vec<f32>,
    /// Bias, `[classes]`.
    pub bias: Vec<f32>,
}

/// A folded BN-Inception network. The module documentation describes the conversion of each preset.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The layers before the first block.
    pub stem: Stem,
    /// The inception blocks in order, any number of them.
    pub blocks: Vec<Block>,
    /// Padding, at most 1, of the 3×3/2 convolutions in blocks of stride 2. In blocks of stride 1 it is 1.
    pub block_padding: Placement,
    /// Padding, at most 1, of the 3×3/2 max pools in blocks of stride 2. In blocks of stride 1 it is 1.
    pub block_pool: Placement,
    /// Inclusion of the padding in the divisor of the average pools.
    pub average_includes_padding: bool,
    /// The classifier after the last block.
    pub classifier: Linear,
}

impl Network {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classifier.bias.len()
    }

    /// Padding of a 3×3 convolution of a block, along height and width.
    pub(crate) fn conv_padding(&self, stride: usize, size: [usize; 2]) -> [(usize, usize); 2] {
        match stride {
            1 => [(1, 1); 2],
            _ => size.map(|s| self.block_padding.of(s)),
        }
    }

    /// Padding of a 3×3 max pool of a block, along height and width.
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
        let is = |what, expected, found| require(&block.name, what, expected, found);
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
                // One even and one odd size represent all sizes.
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
