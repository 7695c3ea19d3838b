//! The layers before the first inception block (Figure 5, first four rows).

use burn::module::Module;
use burn::nn::{LocalResponseNorm, LocalResponseNormConfig};
use burn::tensor::{Device, Tensor};

use crate::batch_norm::Statistics;
use crate::config::{BnInceptionConfig, MaxPooling, Normalization};
use crate::conv::ConvUnit;
use crate::layers::Layer;
use crate::pool;

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
    /// The stem of the network that `layers` describe, with zero weights.
    pub(crate) fn init(layers: &[Layer], config: &BnInceptionConfig, device: &Device) -> Self {
        let unit = |part: &str| ConvUnit::find(layers, &format!("stem.{part}"), config, device);
        let has_lrn = config.normalization == Normalization::LocalResponse;
        Self {
            depthwise: unit("depthwise"),
            conv1: unit("conv1").expect("every stem has a first convolution"),
            conv2_reduce: unit("conv2_reduce"),
            conv2: unit("conv2"),
            lrn: has_lrn.then(|| local_response().init()),
            pooling: config.stem_pooling,
        }
    }

    /// Output of the stem. Normalises with the batch's statistics on an autodiff device and with the running ones
    /// elsewhere.
    ///
    /// # Shapes
    /// `[N, 3, H, W]` → `[N, C, H', W']`
    ///
    /// # Panics
    /// If `images` have another number of channels.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let statistics = Statistics::of(&images);
        self.apply(images, statistics).1
    }

    /// Outputs of the first pool (if there is one) and of the stem.
    pub(crate) fn apply(&self, x: Tensor<4>, statistics: Statistics) -> (Option<Tensor<4>>, Tensor<4>) {
        let x = self.depthwise(x, statistics);
        let x = self.conv1.apply(x, statistics);
        let (Some(reduce), Some(conv2)) = (&self.conv2_reduce, &self.conv2) else {
            return (None, x);
        };
        let padding = |size| self.pooling.of_stem(size);
        let pooled = pool::max(x, 2, padding);
        let x = self.respond(pooled.clone());
        let x = conv2.apply(reduce.apply(x, statistics), statistics);
        (Some(pooled), pool::max(self.respond(x), 2, padding))
    }

    /// Input of the first convolution's non-linearity, with the layer's name.
    pub(crate) fn pre_activation(&self, x: Tensor<4>, statistics: Statistics) -> (String, Tensor<4>) {
        let x = self.depthwise(x, statistics);
        let y = self.conv1.pre_activation(x, statistics);
        ("stem.conv1".to_owned(), y)
    }

    fn depthwise(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        match &self.depthwise {
            Some(depthwise) => depthwise.apply(x, statistics),
            None => x,
        }
    }

    fn respond(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.lrn {
            Some(lrn) => lrn.forward(x),
            None => x,
        }
    }
}

/// GoogLeNet's values: five channels, α 1e-4, β 0.75.
pub(crate) fn local_response() -> LocalResponseNormConfig {
    LocalResponseNormConfig::new(5)
}
