//! Description of a folded network: plain numbers.

use crate::plan::window::Placement;

/// A folded network: its layers in forward order. The [module documentation](super) describes how to convert a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The layers. The first is a convolution of the images. The output of the last is the network's: of a classifier,
    /// or of a convolution, a max pool or a concatenation in a network that ends early.
    pub layers: Vec<Layer>,
}

/// A layer and its connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Name for errors and profiles: `stem.conv1`, `3a.pool`, `3a` (a concatenation), `classifier`.
    pub name: String,
    /// Positions of the layers read, each before this one; none for the first layer, which reads the images.
    pub inputs: Vec<usize>,
    /// The operation on the outputs of these layers.
    pub operation: Operation,
}

/// Operation of a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Convolution, bias, ReLU.
    Conv(Conv),
    /// 3×3 max pool. The padding never is the maximum.
    MaxPool {
        /// 1 or 2.
        stride: usize,
        /// 1 on all sides with stride 1, at most 1 with stride 2.
        padding: Placement,
    },
    /// 3×3/1 average pool padded by 1. One 1×1 convolution reads it, and nothing else.
    AveragePool {
        /// Inclusion of the padding in the divisor.
        includes_padding: bool,
    },
    /// Concatenation of the channels of convolutions and max pools that nothing else reads.
    Concat,
    /// Mean over all pixels, then a linear map to the logits: the last layer, if there is one.
    Classifier(Linear),
}

/// A convolution with bias, with its batch normalisation folded into both, followed by a ReLU.
///
/// The first layer is a 7×7/2 padded by at most 3 or a 3×3/1 padded by 1; all others are 1×1/1 without padding, 3×3/1
/// padded by 1 or 3×3/2 padded by at most 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Filters, `[out_channels, in_channels, kernel, kernel]`, row-major.
    pub weight: Vec<f32>,
    /// Bias, one value per output channel.
    pub bias: Vec<f32>,
    /// Number of input channels.
    pub in_channels: usize,
    /// Number of output channels.
    pub out_channels: usize,
    /// Height and width of a filter: 1, 3 or 7.
    pub kernel: usize,
    /// Distance of two windows, 1 or 2, along height and width.
    pub stride: usize,
    /// Padding of the input with zeros.
    pub padding: Placement,
}

/// A linear map to the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Weight, `[classes, channels]`, row-major.
    pub weight: Vec<f32>,
    /// Bias, `[classes]`.
    pub bias: Vec<f32>,
}

impl Operation {
    /// Kernel, stride and padding of the windows; `None` for an operation without windows.
    pub(crate) fn window(&self) -> Option<(usize, usize, Placement)> {
        match self {
            Self::Conv(conv) => Some((conv.kernel, conv.stride, conv.padding)),
            &Self::MaxPool { stride, padding } => Some((3, stride, padding)),
            Self::AveragePool { .. } => Some((3, 1, Placement::both(1, 1))),
            Self::Concat | Self::Classifier(_) => None,
        }
    }
}

impl Network {
    /// Number of classes, 0 without a classifier.
    pub fn classes(&self) -> usize {
        match self.layers.last().map(|layer| &layer.operation) {
            Some(Operation::Classifier(linear)) => linear.bias.len(),
            _ => 0,
        }
    }
}
