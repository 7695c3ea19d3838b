//! The layers in front of the first inception block (Figure 5, first four rows).

use burn::module::Module;
use burn::nn::{LocalResponseNorm, LocalResponseNormConfig};
use burn::tensor::{Device, Tensor};

use crate::batch_norm::Statistics;
use crate::config::{BnInceptionConfig, MaxPooling, Normalization, Stem as StemKind};
use crate::conv::{ConvUnit, UnitPlan};
use crate::padding::windows;
use crate::plan::StemPlan;
use crate::pool;
use crate::summary::Extent;

/// Depth multiplier of the separable first convolution (paper, appendix).
const DEPTH_MULTIPLIER: usize = 8;

/// 7x7/2 convolution → pool → 1x1 → 3x3 → pool, or one 3x3 convolution for small images.
#[derive(Module, Debug)]
pub struct Stem {
    /// The depthwise half of a separable first convolution.
    pub depthwise: Option<ConvUnit>,
    /// First convolution, or the 1x1 half of a separable one.
    pub conv1: ConvUnit,
    /// 1x1 reduction; absent in the stem for small images, as are the layers after it.
    pub conv2_reduce: Option<ConvUnit>,
    /// 3x3 convolution.
    pub conv2: Option<ConvUnit>,
    /// Local response normalisation after the first pool and the last convolution (networks without batch norm).
    pub lrn: Option<LocalResponseNorm>,
    #[module(skip)]
    pooling: MaxPooling,
}

impl Stem {
    pub(crate) fn init(config: &BnInceptionConfig, device: &Device) -> (Self, usize) {
        let unit = |plan: UnitPlan| plan.init(config, device);
        let lrn =
            (config.normalization == Normalization::LocalResponse).then(|| local_response().init());
        let pooling = config.stem_pooling;
        match config.plan.stem() {
            StemPlan::Small(channels) => {
                let channels = config.scaled(channels);
                let stem = Self {
                    depthwise: None,
                    conv1: unit(UnitPlan::new(3, channels, 3)),
                    conv2_reduce: None,
                    conv2: None,
                    lrn,
                    pooling,
                };
                (stem, channels)
            }
            StemPlan::ImageNet(channels) => {
                let [first, reduce, last] = channels.map(|c| config.scaled(c));
                let (depthwise, conv1) = first_convolution(config.stem, first);
                let stem = Self {
                    depthwise: depthwise.map(unit),
                    conv1: unit(conv1),
                    conv2_reduce: Some(unit(UnitPlan::new(first, reduce, 1))),
                    conv2: Some(unit(UnitPlan::new(reduce, last, 3))),
                    lrn,
                    pooling,
                };
                (stem, last)
            }
        }
    }

    /// Returns the output of the first pool (where there is one) and of the stem.
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        statistics: Statistics,
    ) -> (Option<Tensor<4>>, Tensor<4>) {
        let x = match &self.depthwise {
            Some(depthwise) => depthwise.forward(x, statistics),
            None => x,
        };
        let x = self.conv1.forward(x, statistics);
        let (Some(reduce), Some(conv2)) = (&self.conv2_reduce, &self.conv2) else {
            return (None, x);
        };
        let padding = |size| self.pooling.of_stem(size);
        let pooled = pool::max(x, 2, padding);
        let x = self.respond(pooled.clone());
        let x = conv2.forward(reduce.forward(x, statistics), statistics);
        (Some(pooled), pool::max(self.respond(x), 2, padding))
    }

    /// What the non-linearity of the first convolution gets, with the layer's name.
    pub(crate) fn pre_activation(
        &self,
        x: Tensor<4>,
        statistics: Statistics,
    ) -> (String, Tensor<4>) {
        let x = match &self.depthwise {
            Some(depthwise) => depthwise.forward(x, statistics),
            None => x,
        };
        let y = self.conv1.pre_activation(x, statistics);
        ("stem.conv1".to_owned(), y)
    }

    fn respond(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.lrn {
            Some(lrn) => lrn.forward(x),
            None => x,
        }
    }

    /// Follows `extent` through the stem, counting multiply-adds.
    pub(crate) fn trace(&self, extent: &mut Extent) {
        let pooled = |size| windows(size, 3, 2, self.pooling.of_stem(size));
        if let Some(depthwise) = &self.depthwise {
            extent.convolve(depthwise);
        }
        extent.convolve(&self.conv1);
        if let (Some(reduce), Some(conv2)) = (&self.conv2_reduce, &self.conv2) {
            extent.size = extent.size.map(pooled);
            extent.convolve(reduce);
            extent.convolve(conv2);
            extent.size = extent.size.map(pooled);
        }
    }
}

/// GoogLeNet's values: five channels, α 1e-4, β 0.75.
pub(crate) fn local_response() -> LocalResponseNormConfig {
    LocalResponseNormConfig::new(5)
}

fn first_convolution(kind: StemKind, channels: usize) -> (Option<UnitPlan>, UnitPlan) {
    if kind == StemKind::Plain {
        return (None, UnitPlan::new(3, channels, 7).with_stride(2));
    }
    let depthwise = UnitPlan {
        groups: 3,
        normalized: false,
        activated: false,
        ..UnitPlan::new(3, 3 * DEPTH_MULTIPLIER, 7).with_stride(2)
    };
    let unnormalized = kind == StemKind::SeparableUnnormalized;
    let pointwise = UnitPlan {
        normalized: !unnormalized,
        biased: unnormalized,
        ..UnitPlan::new(3 * DEPTH_MULTIPLIER, channels, 1)
    };
    (Some(depthwise), pointwise)
}
