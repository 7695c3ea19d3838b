//! One layer of the network: name, inputs, operation and extents.

use crate::config::{Activation, MaxPooling, Normalization, StridedPadding};
use crate::padding::{Padding, windows};

/// One layer of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Name of the layer: block and part (`stem.conv1`, `3a.pool`), or the block's own for its concatenation.
    pub name: String,
    /// Name of the block the layer belongs to: `stem`, `3a` … `5b` or `classifier`.
    pub block: &'static str,
    /// Positions in the list of the layers whose outputs are read; empty for the layer that reads the images.
    pub inputs: Vec<usize>,
    /// Number of output channels.
    pub channels: usize,
    /// Computation.
    pub operation: Operation,
}

/// Computation of a [`Layer`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    /// Convolution, with the normalisation and the non-linearity that follow it.
    Convolution(Convolution),
    /// 3x3 max pool; padding is never the maximum.
    MaxPool {
        /// Stride in pixels.
        stride: usize,
        /// Position of the windows.
        pooling: MaxPooling,
        /// True if the output is concatenated with that of convolutions, whose size it must have.
        beside_convolutions: bool,
    },
    /// 3x3/1 average pool, padded with one pixel of zeros.
    AveragePool {
        /// True if the zeros count in the divisor.
        includes_padding: bool,
    },
    /// Local response normalisation with GoogLeNet's values.
    LocalResponseNorm,
    /// Concatenation of the inputs' channels, in their order.
    Concatenation,
    /// Mean over all pixels.
    GlobalAveragePool,
    /// Linear map to the logits.
    Linear {
        /// Number of input channels.
        in_channels: usize,
    },
}

/// Dimensions of a convolution, and the operations that follow it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convolution {
    /// Number of input channels.
    pub in_channels: usize,
    /// Number of output channels.
    pub out_channels: usize,
    /// Height and width of a filter in pixels.
    pub kernel: usize,
    /// Stride in pixels.
    pub stride: usize,
    /// Number of groups; the number of input channels in a depthwise convolution.
    pub groups: usize,
    /// Padding rule.
    pub padding: StridedPadding,
    /// True if a bias is added.
    pub bias: bool,
    /// True if batch normalisation follows.
    pub norm: bool,
    /// Final non-linearity, if any.
    pub activation: Option<Activation>,
}

impl Convolution {
    /// Shape of the filters.
    pub(crate) fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups, self.kernel, self.kernel]
    }

    /// Padding along a dimension of `size` pixels.
    pub(crate) fn padding(&self, size: usize) -> Padding {
        self.padding.of_conv(size, self.kernel, self.stride)
    }
}

impl Layer {
    /// The convolution, if the layer is one.
    pub fn convolution(&self) -> Option<&Convolution> {
        match &self.operation {
            Operation::Convolution(convolution) => Some(convolution),
            _ => None,
        }
    }

    /// Height or width of the output in pixels, for an input of `size` pixels.
    pub fn out_size(&self, size: usize) -> usize {
        match self.operation {
            Operation::Convolution(c) => windows(size, c.kernel, c.stride, c.padding(size)),
            Operation::MaxPool { stride, .. } => windows(size, 3, stride, self.padding(size)),
            Operation::AveragePool { .. } | Operation::LocalResponseNorm | Operation::Concatenation => size,
            Operation::GlobalAveragePool | Operation::Linear { .. } => 1,
        }
    }

    /// Padding along a dimension of `size` pixels.
    pub(crate) fn padding(&self, size: usize) -> Padding {
        match self.operation {
            Operation::Convolution(convolution) => convolution.padding(size),
            Operation::MaxPool { stride, pooling, beside_convolutions: true } => pooling.of_block(size, stride),
            Operation::MaxPool { pooling, .. } => pooling.of_stem(size),
            Operation::AveragePool { .. } => (1, 1),
            _ => (0, 0),
        }
    }

    /// Multiply-adds for one square image; the layer's input is `size` pixels wide and high.
    pub(crate) fn multiply_adds(&self, size: usize) -> u64 {
        let per_pixel: usize = match &self.operation {
            Operation::Convolution(convolution) => convolution.weight_shape().iter().product(),
            Operation::Linear { in_channels } => in_channels * self.channels,
            _ => 0,
        };
        (per_pixel * self.out_size(size).pow(2)) as u64
    }

    /// Names and shapes of the layer's parameters and running statistics in a network with this `normalization`.
    pub(crate) fn tensors(&self, normalization: Normalization) -> Vec<(String, Vec<usize>)> {
        let (weight, bias, norm) = match &self.operation {
            Operation::Convolution(c) => (c.weight_shape().to_vec(), c.bias, c.norm),
            Operation::Linear { in_channels } => (vec![self.channels, *in_channels], true, false),
            _ => return Vec::new(),
        };
        let gamma = matches!(normalization, Normalization::Batch { scale: true, .. });
        let vectors = [
            ("bias", bias),
            ("norm.gamma", norm && gamma),
            ("norm.beta", norm),
            ("norm.running_mean", norm),
            ("norm.running_var", norm),
        ];
        let vectors = vectors.into_iter().filter(|(_, present)| *present);
        let vectors = vectors.map(|(part, _)| (format!("{}.{part}", self.name), vec![self.channels]));
        std::iter::once((format!("{}.weight", self.name), weight)).chain(vectors).collect()
    }
}

/// Height and width of each layer's output in pixels, for square images of `input` pixels.
pub(crate) fn sizes(layers: &[Layer], input: usize) -> Vec<usize> {
    let mut sizes = Vec::with_capacity(layers.len());
    for layer in layers {
        sizes.push(layer.out_size(input_size(layer, &sizes, input)));
    }
    sizes
}

/// Height and width of a layer's input in pixels, from the outputs of the layers before it.
pub(crate) fn input_size(layer: &Layer, sizes: &[usize], images: usize) -> usize {
    layer.inputs.first().map_or(images, |input| sizes[*input])
}

/// Number of learned values among `tensors`: all but running statistics.
pub(crate) fn learned(tensors: impl IntoIterator<Item = (String, Vec<usize>)>) -> usize {
    let tensors = tensors.into_iter();
    let learned = tensors.filter(|(name, _)| TensorRole::of(name) != TensorRole::Statistic);
    learned.map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// Role of a tensor in a network, given by the last part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TensorRole {
    /// A filter or the classifier's matrix.
    Weight,
    /// A bias.
    Bias,
    /// γ or β of a batch normalisation.
    Norm,
    /// A running mean or variance: updated, not learned.
    Statistic,
}

impl TensorRole {
    /// The role of the tensor called `name`.
    pub fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("running_mean" | "running_var") => TensorRole::Statistic,
            Some("gamma" | "beta") => TensorRole::Norm,
            Some("bias") => TensorRole::Bias,
            _ => TensorRole::Weight,
        }
    }
}
