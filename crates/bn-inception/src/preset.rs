//! Published BN-Inception networks as rows of one table.

use std::fmt;
use std::str::FromStr;

use crate::config::{Activation, BnInceptionConfig, MaxPooling, Normalization, StemKind, StridedPadding};
use crate::plan::ChannelPlan;

/// A published network. [`Preset::config`] gives its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The paper: Figure 5 taken literally with the separable stem of its appendix. Where the paper is silent (padding,
    /// ε, momentum) the values of the Caffe line are used.
    Paper,
    /// The Caffe/Torch line (TSN, Cadene, imgclsmob): plain stem, biased convolutions, 608 plan.
    Caffe,
    /// The ONNX model zoo's `inception-v2`: plain stem, 576 plan.
    Onnx,
    /// MXNet's Inception-BN 126: 608 plan, floor pooling in the stem.
    MxNet,
    /// TensorFlow-slim's `inception_v2`: separable stem, `SAME` padding, no γ, 1001 classes.
    TfSlim,
    /// MXNet's Inception-BN for inputs of 28 or 32 pixels.
    Small,
}

/// A name that no preset has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown preset `{name}`, expected one of: {}", Preset::ALL.map(Preset::name).join(", "))]
pub struct UnknownPreset {
    /// The name given.
    pub name: String,
}

/// Figure 5 in its Caffe implementation; the other rows state their differences.
const CAFFE: BnInceptionConfig = BnInceptionConfig {
    plan: ChannelPlan::Literal608,
    stem: StemKind::Plain,
    conv_bias: true,
    normalization: Normalization::Batch { epsilon: 1e-5, momentum: 0.1, scale: true },
    stem_pooling: MaxPooling::Ceil,
    block_pooling: MaxPooling::Ceil,
    average_includes_padding: true,
    strided_padding: StridedPadding::Symmetric,
    classes: 1000,
    input_size: 224,
    activation: Activation::Relu,
    dropout: 0.0,
    width: 1.0,
    input_channels: None,
};

const PAPER: BnInceptionConfig = BnInceptionConfig { stem: StemKind::Separable, conv_bias: false, ..CAFFE };

const ONNX: BnInceptionConfig = BnInceptionConfig {
    plan: ChannelPlan::Consistent576,
    conv_bias: false,
    // The ONNX graph leaves `count_include_pad` at its default, 0.
    average_includes_padding: false,
    ..CAFFE
};

const MXNET: BnInceptionConfig = BnInceptionConfig {
    normalization: Normalization::Batch { epsilon: 1.00001e-5, momentum: 0.1, scale: true },
    stem_pooling: MaxPooling::Floor,
    block_pooling: MaxPooling::FloorPadded,
    ..CAFFE
};

const TF_SLIM: BnInceptionConfig = BnInceptionConfig {
    plan: ChannelPlan::Consistent576,
    stem: StemKind::SeparableUnnormalized,
    conv_bias: false,
    normalization: Normalization::Batch { epsilon: 1e-3, momentum: 0.0003, scale: false },
    stem_pooling: MaxPooling::Same,
    block_pooling: MaxPooling::Same,
    average_includes_padding: false,
    strided_padding: StridedPadding::Same,
    classes: 1001,
    dropout: 0.2,
    ..CAFFE
};

const SMALL: BnInceptionConfig = BnInceptionConfig {
    plan: ChannelPlan::Small,
    block_pooling: MaxPooling::FloorPadded,
    classes: 10,
    input_size: 28,
    ..CAFFE
};

impl Preset {
    /// Every preset, in the order of the documentation.
    pub const ALL: [Preset; 6] =
        [Preset::Paper, Preset::Caffe, Preset::Onnx, Preset::MxNet, Preset::TfSlim, Preset::Small];

    fn row(self) -> (&'static str, BnInceptionConfig) {
        match self {
            Preset::Paper => ("paper", PAPER),
            Preset::Caffe => ("caffe", CAFFE),
            Preset::Onnx => ("onnx", ONNX),
            Preset::MxNet => ("mxnet", MXNET),
            Preset::TfSlim => ("tf_slim", TF_SLIM),
            Preset::Small => ("small", SMALL),
        }
    }

    /// The name used on command lines and in files.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The preset's configuration, with its published number of classes and input size.
    pub fn config(self) -> BnInceptionConfig {
        self.row().1
    }

    /// The preset that `config` was made from, regardless of width, classes, input size and channels, dropout,
    /// activation and normalisation.
    pub fn of(config: &BnInceptionConfig) -> Option<Self> {
        Preset::ALL.into_iter().find(|preset| {
            let own = preset.config();
            let fitted = BnInceptionConfig {
                plan: own.plan,
                stem: own.stem,
                conv_bias: own.conv_bias,
                stem_pooling: own.stem_pooling,
                block_pooling: own.block_pooling,
                average_includes_padding: own.average_includes_padding,
                strided_padding: own.strided_padding,
                ..config.clone()
            };
            fitted == *config
        })
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        Preset::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| UnknownPreset { name: name.to_owned() })
    }
}
