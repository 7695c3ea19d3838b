//! Every choice in which implementations of BN-Inception differ, as a named field.

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::plan::{BlockPlan, ChannelPlan, StemPlan};

/// Kind of the first 7x7/2 convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StemKind {
    /// An ordinary 7x7 convolution.
    Plain,
    /// A depthwise 7x7 convolution with depth multiplier 8 and a 1x1 convolution to 64 channels, normalised after the
    /// 1x1 (paper, appendix "Variant of the Inception Model Used").
    Separable,
    /// The same with a bias instead of batch normalisation, as in TF-slim.
    SeparableUnnormalized,
}

/// Normalisation of each convolution's output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Normalization {
    /// Batch normalisation of every convolution's output (paper, section 3).
    Batch {
        /// ε of Algorithm 1, added to the variance.
        epsilon: f64,
        /// Weight of the newest batch in the running statistics (PyTorch's convention).
        momentum: f64,
        /// True if there is a learned scale γ. TF-slim omits it; a ReLU follows anyway.
        scale: bool,
    },
    /// None; local response normalisation in the stem, as in the original Inception.
    LocalResponse,
    /// None any more: merged into filters and biases, as by [`Model::fold`](crate::Model::fold). For inference only.
    Folded,
}

/// The non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `max(0, x)`.
    Relu,
    /// The logistic function (variant BN-x5-Sigmoid, section 4.2.2).
    Sigmoid,
}

/// Position of the windows of a 3x3/2 max pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MaxPooling {
    /// No padding; the last window may overhang the edge (Caffe, PyTorch `ceil_mode`; ONNX pads 0,0,1,1).
    Ceil,
    /// No padding, only whole windows (MXNet "valid").
    Floor,
    /// One pixel of padding on every side, only whole windows.
    FloorPadded,
    /// TensorFlow's `SAME`.
    Same,
}

/// Padding of 7x7/2 and 3x3/2 convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StridedPadding {
    /// Half the kernel on every side (Caffe, PyTorch, MXNet).
    Symmetric,
    /// TensorFlow's `SAME`: on even sizes one pixel less before than after.
    Same,
}

/// A complete description of one BN-Inception network. [`Preset`](crate::Preset) has the published ones; the defaults
/// are those of [`Preset::Caffe`](crate::Preset::Caffe).
///
/// ```
/// use bn_inception::{BnInceptionConfig, Preset};
///
/// let config = Preset::Caffe.config().with_classes(10).with_width(0.5);
/// assert_eq!(config.blocks()[0].conv_1x1, 32);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct BnInceptionConfig {
    /// Channel plan of the blocks.
    #[config(default = "ChannelPlan::Literal608")]
    pub plan: ChannelPlan,
    /// First convolution.
    #[config(default = "StemKind::Plain")]
    pub stem: StemKind,
    /// True if convolutions have a bias (it cancels in batch normalisation; paper, section 3.2).
    #[config(default = true)]
    pub conv_bias: bool,
    /// Normalisation of convolution outputs.
    #[config(default = "Normalization::Batch { epsilon: 1e-5, momentum: 0.1, scale: true }")]
    pub normalization: Normalization,
    /// Max pools of the stem.
    #[config(default = "MaxPooling::Ceil")]
    pub stem_pooling: MaxPooling,
    /// Max pools of the stride-2 blocks 3c and 4e.
    #[config(default = "MaxPooling::Ceil")]
    pub block_pooling: MaxPooling,
    /// True if the zero border counts in the divisor of 3x3 average pools (PyTorch's `count_include_pad`).
    #[config(default = true)]
    pub average_includes_padding: bool,
    /// Padding of strided convolutions.
    #[config(default = "StridedPadding::Symmetric")]
    pub strided_padding: StridedPadding,
    /// Number of classes (length of the logits).
    #[config(default = 1000)]
    pub classes: usize,
    /// Height and width of the input in pixels. Other sizes work too; this one is documented with the weights.
    #[config(default = 224)]
    pub input_size: usize,
    /// Non-linearity.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
    /// Probability of dropping an input of the classifier in training, 0 to 0.4 in the paper.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// Multiplier of every channel count; results are rounded to a multiple of 8, at least 8.
    #[config(default = 1.0)]
    pub width: f64,
    /// Channels of the input, 1 to 64; `None` for the three of colour images. Optical flow of five frames has 10.
    pub input_channels: Option<usize>,
}

/// A value of a [`BnInceptionConfig`] outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {found}, expected {expected}")]
pub struct ConfigError {
    /// Name of the field.
    pub field: &'static str,
    /// Value found.
    pub found: String,
    /// Accepted values.
    pub expected: &'static str,
}

impl BnInceptionConfig {
    /// Checks that the configuration describes a network.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field out of range, its value and the accepted range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (width, classes, dropout, size) = (self.width, self.classes, self.dropout, self.input_size);
        let smallest = self.smallest_input();
        let sizes = if smallest == 32 { "32 to 4096" } else { "8 to 4096" };
        let (epsilon, momentum) = match self.normalization {
            Normalization::Batch { epsilon, momentum, .. } => (epsilon, momentum),
            Normalization::LocalResponse | Normalization::Folded => (1.0, 0.0),
        };
        let pools = "Ceil, FloorPadded or Same, which fit the convolutions beside the pool";
        let channels = self.image_channels();
        let checks = [
            ("input_channels", (1..=64).contains(&channels), channels.to_string(), "1 to 64"),
            ("width", (0.05..=8.0).contains(&width), width.to_string(), "0.05 to 8"),
            ("classes", (2..=1_000_000).contains(&classes), classes.to_string(), "2 to 1000000"),
            ("dropout", (0.0..1.0).contains(&dropout), dropout.to_string(), "0 up to, not including, 1"),
            ("input_size", (smallest..=4096).contains(&size), size.to_string(), sizes),
            ("block_pooling", self.block_pooling != MaxPooling::Floor, "Floor".to_owned(), pools),
            ("epsilon", epsilon.is_finite() && epsilon > 0.0, epsilon.to_string(), "a positive number"),
            ("momentum", (0.0..=1.0).contains(&momentum), momentum.to_string(), "0 to 1"),
        ];
        match checks.into_iter().find(|(_, valid, ..)| !valid) {
            Some((field, _, found, expected)) => Err(ConfigError { field, found, expected }),
            None => Ok(()),
        }
    }

    /// Channels of the input: [`input_channels`](Self::input_channels), or those of colour images.
    pub fn image_channels(&self) -> usize {
        self.input_channels.unwrap_or(3)
    }

    /// The smallest height or width, in pixels, that leaves at least one pixel before the classifier.
    pub fn smallest_input(&self) -> usize {
        match self.plan.stem() {
            StemPlan::ImageNet(_) => 32,
            StemPlan::Small(_) => 8,
        }
    }

    /// `channels` times [`width`](Self::width), rounded to a multiple of 8, at least 8. Width 1 changes nothing.
    pub fn scaled(&self, channels: usize) -> usize {
        if self.width == 1.0 {
            return channels;
        }
        let eighths = (channels as f64 * self.width / 8.0).round() as usize;
        8 * eighths.max(1)
    }

    /// The channel plan of the ten blocks after the width multiplier.
    pub fn blocks(&self) -> Vec<BlockPlan> {
        let plan = self.plan.blocks().iter();
        plan.map(|block| block.scaled(|channels| self.scaled(channels))).collect()
    }
}
