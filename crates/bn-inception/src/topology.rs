//! The network as data: every layer in forward order, with its name, its inputs and its extents.
//!
//! [`BnInceptionConfig::layers`] is the single definition of a network's layers. Shapes, parameter counts, the summary,
//! folding, import checks, ONNX export and the CPU engine's description walk this list; the forward pass of
//! [`Model`](crate::Model) is written by hand, after the paper's Figure 5, and tested against it.

use std::collections::BTreeMap;

use crate::config::{BnInceptionConfig, Normalization, StemKind};
use crate::layers::{Convolution, Layer, Operation, learned};
use crate::plan::{BlockPlan, PoolBranch, StemPlan};

/// Depth multiplier of the separable first convolution (paper, appendix).
pub(crate) const DEPTH_MULTIPLIER: usize = 8;

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
        let mut builder = Builder { config: self, block: "stem", layers: Vec::with_capacity(100) };
        let mut x = builder.stem();
        for plan in self.blocks() {
            x = builder.block(&plan, x);
        }
        builder.classifier(x);
        builder.layers
    }

    /// Name and shape of every parameter and running statistic: the names that weight files carry.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let layers = self.layers();
        layers.iter().flat_map(|layer| layer.tensors(self.normalization)).collect()
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
    /// Adds a layer of the current block called `part`, or like the block if `part` is empty.
    fn push(&mut self, part: &str, inputs: Vec<usize>, channels: usize, operation: Operation) -> usize {
        let block = self.block;
        let name = if part.is_empty() { block.to_owned() } else { format!("{block}.{part}") };
        self.layers.push(Layer { name, block, inputs, channels, operation });
        self.layers.len() - 1
    }

    fn channels(&self, input: Option<usize>) -> usize {
        input.map_or(self.config.image_channels(), |input| self.layers[input].channels)
    }

    /// An ordinary convolution: normalised if the network normalises, with its non-linearity.
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
        self.push(part, input.into_iter().collect(), channels, Operation::Convolution(convolution))
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
        let inputs = self.config.image_channels();
        let depthwise = Convolution {
            groups: inputs,
            bias: false,
            norm: false,
            activation: None,
            ..self.ordinary(None, inputs * DEPTH_MULTIPLIER, 7, 2)
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
        let operation = Operation::MaxPool { stride: 2, pooling, beside_convolutions: false };
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

    /// The 1x1 reduction in front of a 3x3 convolution; the block's input where there is none.
    fn reduction(&mut self, part: &str, x: Option<usize>, channels: usize) -> Option<usize> {
        if channels == 0 { x } else { Some(self.conv(part, x, channels, 1, 1)) }
    }

    fn pool_branch(&mut self, plan: &BlockPlan, x: usize) -> Option<usize> {
        let pooling = self.config.block_pooling;
        let max = Operation::MaxPool { stride: plan.stride, pooling, beside_convolutions: true };
        let average = Operation::AveragePool { includes_padding: self.config.average_includes_padding };
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
