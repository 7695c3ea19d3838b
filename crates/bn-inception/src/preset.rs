//! Published BN-Inception networks as rows of one table.

use std::fmt;
use std::str::FromStr;

use crate::config::{
    Activation, BnInceptionConfig, MaxPooling, Normalization, Stem, StridedPadding,
};
use crate::plan::Plan;

/// A published network. [`Preset::config`] gives its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The paper: Figure 5 taken literally with the separable stem of its appendix. Where the paper is silent
    /// (padding, ε, momentum) the values of the Caffe line are used.
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

/// A preset's name is none of [`Preset::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown preset `{0}`, expected one of: paper, caffe, onnx, mxnet, tf_slim, small")]
pub struct UnknownPreset(
    /// The name given.
    pub String,
);

struct Row {
    name: &'static str,
    plan: Plan,
    stem: Stem,
    conv_bias: bool,
    /// ε, momentum (weight of the newest batch), whether γ exists.
    norm: (f64, f64, bool),
    stem_pooling: MaxPooling,
    block_pooling: MaxPooling,
    average_includes_padding: bool,
    strided_padding: StridedPadding,
    classes: usize,
    input_size: usize,
    dropout: f64,
}

const CAFFE: Row = Row {
    name: "caffe",
    plan: Plan::Literal608,
    stem: Stem::Plain,
    conv_bias: true,
    norm: (1e-5, 0.1, true),
    stem_pooling: MaxPooling::Ceil,
    block_pooling: MaxPooling::Ceil,
    average_includes_padding: true,
    strided_padding: StridedPadding::Symmetric,
    classes: 1000,
    input_size: 224,
    dropout: 0.0,
};

const PAPER: Row = Row {
    name: "paper",
    stem: Stem::Separable,
    conv_bias: false,
    ..CAFFE
};

const ONNX: Row = Row {
    name: "onnx",
    plan: Plan::Consistent576,
    conv_bias: false,
    // The ONNX graph leaves `count_include_pad` at its default, 0.
    average_includes_padding: false,
    ..CAFFE
};

const MXNET: Row = Row {
    name: "mxnet",
    norm: (1.00001e-5, 0.1, true),
    stem_pooling: MaxPooling::Floor,
    block_pooling: MaxPooling::FloorPadded,
    ..CAFFE
};

const TF_SLIM: Row = Row {
    name: "tf_slim",
    plan: Plan::Consistent576,
    stem: Stem::SeparableUnnormalized,
    conv_bias: false,
    norm: (1e-3, 0.0003, false),
    stem_pooling: MaxPooling::Same,
    block_pooling: MaxPooling::Same,
    average_includes_padding: false,
    strided_padding: StridedPadding::Same,
    classes: 1001,
    dropout: 0.2,
    ..CAFFE
};

const SMALL: Row = Row {
    name: "small",
    plan: Plan::Small,
    block_pooling: MaxPooling::FloorPadded,
    classes: 10,
    input_size: 28,
    ..CAFFE
};

impl Preset {
    /// Every preset, in the order of the documentation.
    pub const ALL: [Preset; 6] = [
        Preset::Paper,
        Preset::Caffe,
        Preset::Onnx,
        Preset::MxNet,
        Preset::TfSlim,
        Preset::Small,
    ];

    fn row(self) -> &'static Row {
        match self {
            Preset::Paper => &PAPER,
            Preset::Caffe => &CAFFE,
            Preset::Onnx => &ONNX,
            Preset::MxNet => &MXNET,
            Preset::TfSlim => &TF_SLIM,
            Preset::Small => &SMALL,
        }
    }

    /// The name used on command lines and in files.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The preset that `config` was made from, whatever its width, classes, input size, dropout, activation and
    /// normalisation.
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

    /// The preset's configuration, with its published number of classes and input size.
    pub fn config(self) -> BnInceptionConfig {
        let row = self.row();
        let (epsilon, momentum, scale) = row.norm;
        let normalization = Normalization::Batch {
            epsilon,
            momentum,
            scale,
        };
        BnInceptionConfig {
            plan: row.plan,
            stem: row.stem,
            conv_bias: row.conv_bias,
            normalization,
            stem_pooling: row.stem_pooling,
            block_pooling: row.block_pooling,
            average_includes_padding: row.average_includes_padding,
            strided_padding: row.strided_padding,
            classes: row.classes,
            input_size: row.input_size,
            activation: Activation::Relu,
            dropout: row.dropout,
            width: 1.0,
        }
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
            .ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}
