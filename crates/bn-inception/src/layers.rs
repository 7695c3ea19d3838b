//! The network as data: every layer in forward order, with its name, its inputs and its extents.
//!
//! [`BnInceptionConfig::layers`] is the single definition of a network's layers. Shapes, parameter counts, the summary,
//! folding, import checks, ONNX export and the CPU engine's description walk this list; the forward pass of
//! [`Model`](crate::Model) is written by hand, after the paper's Figure 5, and tested against it.

use std::collections::BTreeMap;

use crate::config::{Activation, BnInceptionConfig, MaxPooling, Normalization, StemKind, StridedPadding};
use crate::padding::{Padding, windows};
use crate::plan::{BlockPlan, PoolBranch, StemPlan};

/// Depth multiplier of the separable first convolution (paper, appendix).
const DEPTH_MULTIPLIER: usize = 8;

/// Channels of the images.
const IMAGE_CHANNELS: usize = 3;

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
        [
            self.out_channels,
            self.in_channels / self.groups,
            self.kernel,
            self.kernel,
        ]
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
            Operation::MaxPool {
                stride,
                pooling,
                beside_convolutions: true,
            } => pooling.of_block(size, stride),
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
        std::iter::once((format!("{}.weight", self.name), weight))
            .chain(vectors)
            .collect()
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl BnInceptionConfig {
    /// Every layer of the network, in forward order.
    ///
    /// ```
    /// use bn_inception::Preset;
    ///
    /// let layers = Preset::Caffe.config().layers();
    /// let last = layers.iter().rfind(|layer| layer.name == "5b").unwrap();
    /// assert_eq!((last.channels, last.inputs.len()), (1024, 4));
    /// ```
    pub fn layers(&self) -> Vec<Layer> {
        let mut builder = Builder {
            config: self,
            block: "stem",
            layers: Vec::with_capacity(100),
        };
        let mut x = builder.stem();
        for plan in self.blocks() {
            x = builder.block(&plan, x);
        }
        builder.classifier(x);
        builder.layers
    }

    /// Name and shape of every parameter and running statistic; weight files use the same names.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let layers = self.layers();
        layers
            .iter()
            .flat_map(|layer| layer.tensors(self.normalization))
            .collect()
    }

    /// Number of learned parameters; running statistics are not learned.
    pub fn parameters(&self) -> usize {
        learned(self.tensors())
    }
}

/// A list of layers under construction. Methods add layers and return the position of the last.
struct Builder<'a> {
    config: &'a BnInceptionConfig,
    block: &'static str,
    layers: Vec<Layer>,
}

impl Builder<'_> {
    /// Adds a layer of the current block, called `part`, or like the block if `part` is empty.
    fn push(&mut self, part: &str, inputs: Vec<usize>, channels: usize, operation: Operation) -> usize {
        let block = self.block;
        let name = if part.is_empty() {
            block.to_owned()
        } else {
            format!("{block}.{part}")
        };
        self.layers.push(Layer {
            name,
            block,
            inputs,
            channels,
            operation,
        });
        self.layers.len() - 1
    }

    fn channels(&self, input: Option<usize>) -> usize {
        input.map_or(IMAGE_CHANNELS, |input| self.layers[input].channels)
    }

    /// An ordinary convolution, with the network's normalisation and non-linearity.
    fn ordinary(&self, input: Option<usize>, out_channels: usize, kernel: usize, stride: usize) -> Convolution {
        let norm = matches!(self.config.normalization, Normalization::Batch { .. });
        Convolution {
            in_channels: self.channels(input),
            out_channels,
            kernel,
            stride,
            groups: 1,
            padding: self.config.strided_padding,
            // Without normalisation to provide the shift, the bias has to.
            bias: self.config.conv_bias || !norm,
            norm,
            activation: Some(self.config.activation),
        }
    }

    fn push_convolution(&mut self, part: &str, input: Option<usize>, convolution: Convolution) -> usize {
        let channels = convolution.out_channels;
        self.push(
            part,
            input.into_iter().collect(),
            channels,
            Operation::Convolution(convolution),
        )
    }

    fn conv(&mut self, part: &str, input: Option<usize>, channels: usize, kernel: usize, stride: usize) -> usize {
        let convolution = self.ordinary(input, channels, kernel, stride);
        self.push_convolution(part, input, convolution)
    }

    /// Figure 5, first four rows.
    fn stem(&mut self) -> usize {
        match self.config.plan.stem() {
            StemPlan::Small(channels) => self.conv("conv1", None, self.config.scaled(channels), 3, 1),
            StemPlan::ImageNet(channels) => {
                let [first, reduce, last] = channels.map(|channels| self.config.scaled(channels));
                let x = self.first_convolution(first);
                let x = self.stem_pool("pool1", x);
                let x = self.local_response_norm("lrn1", x);
                let x = self.conv("conv2_reduce", Some(x), reduce, 1, 1);
                let x = self.conv("conv2", Some(x), last, 3, 1);
                let x = self.local_response_norm("lrn2", x);
                self.stem_pool("pool2", x)
            }
        }
    }

    fn first_convolution(&mut self, channels: usize) -> usize {
        if self.config.stem == StemKind::Plain {
            return self.conv("conv1", None, channels, 7, 2);
        }
        let depthwise = Convolution {
            groups: IMAGE_CHANNELS,
            bias: false,
            norm: false,
            activation: None,
            ..self.ordinary(None, IMAGE_CHANNELS * DEPTH_MULTIPLIER, 7, 2)
        };
        let depthwise = Some(self.push_convolution("depthwise", None, depthwise));
        let mut pointwise = self.ordinary(depthwise, channels, 1, 1);
        if self.config.stem == StemKind::SeparableUnnormalized {
            (pointwise.bias, pointwise.norm) = (true, false);
        }
        self.push_convolution("conv1", depthwise, pointwise)
    }

    fn stem_pool(&mut self, part: &str, x: usize) -> usize {
        let pooling = self.config.stem_pooling;
        let operation = Operation::MaxPool {
            stride: 2,
            pooling,
            beside_convolutions: false,
        };
        self.push(part, vec![x], self.layers[x].channels, operation)
    }

    /// Local response normalisation, in networks that have it.
    fn local_response_norm(&mut self, part: &str, x: usize) -> usize {
        if self.config.normalization != Normalization::LocalResponse {
            return x;
        }
        self.push(part, vec![x], self.layers[x].channels, Operation::LocalResponseNorm)
    }

    /// Figure 5, rows 3a to 5b: branches over one input in the order 1x1, 3x3, double 3x3, pool.
    fn block(&mut self, plan: &BlockPlan, input: usize) -> usize {
        self.block = plan.name;
        let (x, stride) = (Some(input), plan.stride);
        let mut branches = Vec::with_capacity(4);
        if plan.conv_1x1 > 0 {
            branches.push(self.conv("conv_1x1", x, plan.conv_1x1, 1, 1));
        }
        let reduced = self.reduction("reduce_3x3", x, plan.reduce_3x3);
        branches.push(self.conv("conv_3x3", reduced, plan.conv_3x3, 3, stride));
        if plan.conv_double > 0 {
            let reduced = self.reduction("reduce_double", x, plan.reduce_double);
            let first = self.conv("conv_double_1", reduced, plan.conv_double, 3, 1);
            branches.push(self.conv("conv_double_2", Some(first), plan.conv_double, 3, stride));
        }
        branches.extend(self.pool_branch(plan, input));
        let channels = branches.iter().map(|branch| self.layers[*branch].channels).sum();
        self.push("", branches, channels, Operation::Concatenation)
    }

    /// The 1x1 reduction before a 3x3 convolution, or the block's input if there is none.
    fn reduction(&mut self, part: &str, x: Option<usize>, channels: usize) -> Option<usize> {
        if channels == 0 {
            x
        } else {
            Some(self.conv(part, x, channels, 1, 1))
        }
    }

    fn pool_branch(&mut self, plan: &BlockPlan, x: usize) -> Option<usize> {
        let pooling = self.config.block_pooling;
        let max = Operation::MaxPool {
            stride: plan.stride,
            pooling,
            beside_convolutions: true,
        };
        let average = Operation::AveragePool {
            includes_padding: self.config.average_includes_padding,
        };
        let (operation, projection) = match plan.pool {
            PoolBranch::Average(channels) => (average, channels),
            PoolBranch::Max(channels) => (max, channels),
            PoolBranch::MaxPassThrough => (max, 0),
            PoolBranch::Absent => return None,
        };
        let pooled = self.push("pool", vec![x], self.layers[x].channels, operation);
        self.reduction("pool_projection", Some(pooled), projection)
    }

    /// Figure 5, last rows.
    fn classifier(&mut self, x: usize) {
        self.block = "classifier";
        let in_channels = self.layers[x].channels;
        let pooled = self.push("pool", vec![x], in_channels, Operation::GlobalAveragePool);
        self.push("", vec![pooled], self.config.classes, Operation::Linear { in_channels });
    }
}

#[cfg(test)]
mod tests;
