//! Description of a network, or of a part of one, for training: layers and extents, no numbers.

use crate::norm::Activation;
use crate::plan::error::NetworkError;
use crate::plan::window::{Placement, check_convolution, check_window};

/// A network, or a part of one: its layers in forward order.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The layers. The first is the source ([`Operation::Images`] or [`Operation::Map`]), no other is; the output of
    /// the last is the network's.
    pub layers: Vec<Layer>,
}

/// A layer and its connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Name for errors and profiles.
    pub name: String,
    /// Positions of the layers read, each before this one; none for the source.
    pub inputs: Vec<usize>,
    /// The operation on the outputs of these layers.
    pub operation: Operation,
}

/// Operation of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    /// Images with three channels. One convolution with a 7×7 kernel and stride 2, or 3×3 and stride 1, reads them, and
    /// nothing else.
    Images,
    /// A feature map.
    Map {
        /// Number of channels.
        channels: usize,
    },
    /// Convolution, normalisation, scale and shift, non-linearity.
    Conv(Conv),
    /// 3×3 max pool. The padding never is the maximum.
    MaxPool {
        /// 1 or 2.
        stride: usize,
        /// At most 1 on each side.
        padding: Placement,
    },
    /// 3×3/1 average pool padded by 1. One 1×1 convolution reads it, and nothing else.
    AveragePool {
        /// Inclusion of the padding in the divisor.
        includes_padding: bool,
    },
    /// Concatenation of the channels of convolutions and max pools that nothing else reads.
    Concat,
    /// Mean over all pixels: the last layer, if there is one.
    Mean,
}

/// A convolution with what follows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv {
    /// Number of input channels.
    pub in_channels: usize,
    /// Number of output channels.
    pub out_channels: usize,
    /// Height and width of a filter: 1, 3, or 7 on images.
    pub kernel: usize,
    /// Distance of two windows, 1 or 2, along height and width.
    pub stride: usize,
    /// Padding of the input with zeros.
    pub padding: Placement,
    /// ε of a normalisation with the batch's statistics, where a call asks for one.
    pub epsilon: f64,
    /// Final non-linearity.
    pub activation: Activation,
}

impl Operation {
    /// Kernel, stride and padding of the windows; `None` for an operation without windows.
    pub(super) fn window(&self) -> Option<(usize, usize, Placement)> {
        match *self {
            Self::Conv(conv) => Some((conv.kernel, conv.stride, conv.padding)),
            Self::MaxPool { stride, padding } => Some((3, stride, padding)),
            _ => None,
        }
    }
}

impl Network {
    /// The convolutions, in order: that of the parameters of a call.
    pub fn convs(&self) -> impl Iterator<Item = &Conv> {
        self.layers.iter().filter_map(|layer| match &layer.operation {
            Operation::Conv(conv) => Some(conv),
            _ => None,
        })
    }

    /// Number of channels of each layer's output.
    pub(super) fn channels(&self) -> Vec<usize> {
        let mut channels: Vec<usize> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let inputs = layer.inputs.iter().map(|&input| channels[input]);
            channels.push(match layer.operation {
                Operation::Images => 3,
                Operation::Map { channels } => channels,
                Operation::Conv(conv) => conv.out_channels,
                _ => inputs.fold(0, usize::saturating_add),
            });
        }
        channels
    }

    /// Checks connections, channel counts, kernels and strides.
    ///
    /// # Errors
    /// [`NetworkError::Layer`], naming the first layer that does not fit.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let mut readers = vec![0; self.layers.len()];
        for (i, layer) in self.layers.iter().enumerate() {
            let source = matches!(layer.operation, Operation::Images | Operation::Map { .. });
            layer.require("number of sources in its place", usize::from(i == 0), usize::from(source))?;
            match layer.operation {
                Operation::Images | Operation::Map { .. } => {
                    layer.require("number of inputs", 0, layer.inputs.len())?
                }
                Operation::Concat => {
                    layer.require("number of inputs", layer.inputs.len().max(1), layer.inputs.len())?
                }
                _ => layer.require("number of inputs", 1, layer.inputs.len())?,
            }
            for &input in &layer.inputs {
                if input >= i {
                    layer.require("position of an input", i - 1, input)?;
                }
                readers[input] += 1;
            }
        }
        NetworkError::require("network", "number of layers", self.layers.len().max(2), self.layers.len())?;
        let channels = self.channels();
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            layer.require("number of layers that read it", readers[i].max(usize::from(!last)), readers[i])?;
            let reads = |operation: fn(&Operation) -> bool| {
                layer.inputs.iter().filter(|&&input| operation(&self.layers[input].operation)).count()
            };
            let images = reads(|o| *o == Operation::Images);
            match layer.operation {
                // The layout of the images is that of one convolution.
                Operation::Images => layer.require("number of layers that read it", 1, readers[i])?,
                Operation::Map { .. } => {
                    layer.require("number of channels", channels[i].max(1), channels[i])?;
                }
                Operation::Conv(conv) => conv.check(layer, channels[layer.inputs[0]], images > 0)?,
                Operation::MaxPool { stride, padding } => {
                    layer.require("number of inputs that are images", 0, images)?;
                    check_window(&layer.name, 3, stride, padding)?;
                }
                Operation::AveragePool { .. } => {
                    layer.require("number of inputs that are images", 0, images)?;
                    layer.require("number of layers that read it", 1, readers[i])?;
                    let pointwise = |reader: &&Layer| match reader.operation {
                        Operation::Conv(conv) => conv.kernel == 1 && reader.inputs.contains(&i),
                        _ => false,
                    };
                    let count = self.layers.iter().filter(pointwise).count();
                    layer.require("number of 1x1 convolutions that read it", 1, count)?;
                }
                Operation::Concat => {
                    for &input in &layer.inputs {
                        let part = &self.layers[input];
                        let allowed = matches!(part.operation, Operation::Conv(_) | Operation::MaxPool { .. });
                        let what = "number of convolutions or max pools in a concatenation";
                        part.require(what, 1, usize::from(allowed))?;
                        part.require("number of layers that read it", 1, readers[input])?;
                    }
                }
                Operation::Mean => {
                    layer.require("number of inputs that are images", 0, images)?;
                    layer.require("position of the mean", self.layers.len() - 1, i)?;
                }
            }
        }
        Ok(())
    }
}

impl Layer {
    pub(super) fn require(&self, what: &'static str, expected: usize, found: usize) -> Result<(), NetworkError> {
        NetworkError::require(&self.name, what, expected, found)
    }
}

impl Conv {
    fn check(&self, layer: &Layer, in_channels: usize, on_images: bool) -> Result<(), NetworkError> {
        layer.require("in_channels", in_channels, self.in_channels)?;
        layer.require("out_channels", self.out_channels.max(1), self.out_channels)?;
        check_convolution(&layer.name, on_images, self.kernel, self.stride, self.padding)
    }

    /// Number of elements of the filters.
    pub fn weight_len(&self) -> usize {
        let factors = [self.out_channels, self.in_channels, self.kernel, self.kernel];
        factors.into_iter().fold(1, usize::saturating_mul)
    }
}
