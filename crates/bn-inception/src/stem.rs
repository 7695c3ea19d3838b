//! The layers before the first inception block (Figure 5, first four rows).

use std::sync::Arc;

use burn::module::Module;
use burn::nn::{LocalResponseNorm, LocalResponseNormConfig};
use burn::tensor::{Device, Tensor};

use crate::batch_norm::Statistics;
use crate::config::{BnInceptionConfig, MaxPooling, Normalization};
use crate::conv::ConvUnit;
use crate::layers::Layer;
use crate::pool;
use crate::segment::{Parameters, Segment};
use crate::topology::DEPTH_MULTIPLIER;

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
    /// The stem for the CPU engine, in runs of layers with a result in between that someone may want.
    #[module(skip)]
    segments: Vec<Arc<Segment>>,
}

impl Stem {
    /// The stem of the network that `layers` describe, with zero weights.
    pub(crate) fn init(layers: &[Layer], config: &BnInceptionConfig, device: &Device) -> Self {
        let unit = |part: &str| ConvUnit::find(layers, &format!("stem.{part}"), config, device);
        let has_lrn = config.normalization == Normalization::LocalResponse;
        let end = layers.iter().take_while(|layer| layer.block == "stem").count();
        let after = |part: &str| layers.iter().position(|layer| layer.name == format!("stem.{part}")).map(|i| i + 1);
        let first = after("pool1").unwrap_or(end);
        // Local response normalisation is no layer of the engine's.
        let rest = match (after("lrn1"), after("conv2")) {
            (Some(start), Some(conv2)) => vec![(start, conv2), (end - 1, end)],
            _ => vec![(first, end)],
        };
        let ranges = std::iter::once((0, first)).chain(rest).filter(|(start, end)| start < end);
        let segments = ranges.map(|(start, end)| Segment::new(config, layers, start..end)).collect();
        Self {
            depthwise: unit("depthwise"),
            conv1: unit("conv1").expect("every stem has a first convolution"),
            conv2_reduce: unit("conv2_reduce"),
            conv2: unit("conv2"),
            lrn: has_lrn.then(|| local_response().init()),
            pooling: config.stem_pooling,
            segments,
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
        let padding = |size| self.pooling.of_stem(size);
        let (Some(reduce), Some(conv2)) = (&self.conv2_reduce, &self.conv2) else {
            let y = self.segments[0].run(&x, || vec![self.first(statistics)]);
            return (None, y.unwrap_or_else(|| self.conv1.apply(self.depthwise(x, statistics), statistics)));
        };
        let pooled = self.segments[0].run(&x, || vec![self.first(statistics)]);
        let pooled = pooled.unwrap_or_else(|| {
            let x = self.conv1.apply(self.depthwise(x, statistics), statistics);
            pool::max(x, 2, padding)
        });
        let x = self.respond(pooled.clone());
        let parameters = || vec![reduce.parameters(statistics), conv2.parameters(statistics)];
        let x = match (self.segments[1].run(&x, parameters), &self.lrn) {
            (Some(x), None) => return (Some(pooled), x),
            (Some(x), Some(_)) => x,
            (None, _) => conv2.apply(reduce.apply(x, statistics), statistics),
        };
        let x = self.respond(x);
        let last = self.segments.get(2).and_then(|segment| segment.run(&x, Vec::new));
        (Some(pooled), last.unwrap_or_else(|| pool::max(x, 2, padding)))
    }

    /// Parameters of the stem's convolutions, in forward order.
    pub(crate) fn parameters(&self, statistics: Statistics) -> Vec<Parameters<'_>> {
        let rest = [&self.conv2_reduce, &self.conv2].into_iter().flatten();
        std::iter::once(self.first(statistics)).chain(rest.map(|unit| unit.parameters(statistics))).collect()
    }

    /// Parameters of the first convolution. A separable one is the convolution with the products of its two halves'
    /// filters: `Σ_m pointwise[o, (i, m)] · depthwise[(i, m)]` for output channel o and input channel i.
    fn first(&self, statistics: Statistics) -> Parameters<'_> {
        let parameters = self.conv1.parameters(statistics);
        let Some(depthwise) = &self.depthwise else { return parameters };
        let depthwise = depthwise.weight.val();
        let [products, _, height, width] = depthwise.dims();
        let [outputs, ..] = parameters.filters.dims();
        let inputs = products / DEPTH_MULTIPLIER;
        let pointwise = parameters.filters.reshape([outputs, inputs, DEPTH_MULTIPLIER]).swap_dims(0, 1);
        let filters = pointwise.matmul(depthwise.reshape([inputs, DEPTH_MULTIPLIER, height * width]));
        let filters = filters.swap_dims(0, 1).reshape([outputs, inputs, height, width]);
        Parameters { filters, ..parameters }
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
