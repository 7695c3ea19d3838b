//! Tensor operations with our own implementations.
//!
//! On Flex (`f32`) they run in `bn-inception-kernels`, forward and backward, each as one node of the autodiff graph:
//! Flex 0.22 inherits a weight gradient that treats the whole feature map as a kernel, composes batch normalisation of
//! a dozen passes, and pools scalar by scalar. Elsewhere they are Burn's own operations.

use std::sync::Arc;

use bn_inception_kernels::infer::Engine;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, TensorData, activation, module};

/// Convolution without bias: `[N, C, H, W] ⊛ [O, C/groups, k, k] → [N, O, H', W']`.
pub(crate) fn conv2d(x: Tensor<4>, weight: Tensor<4>, geometry: ConvGeometry) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if flex::serves(&x) && flex::serves(&weight) {
        return flex::conv2d(x, weight, geometry);
    }
    let stride = [geometry.stride; 2];
    let options = ConvOptions::new_with_padding(stride, geometry.padding, [1, 1], geometry.groups);
    module::conv2d(x, weight, None, options)
}

/// Normalisation with the batch's own statistics, followed by a ReLU if `relu` is set. Returns `(y, mean, biased
/// variance)`; the statistics carry no gradient.
pub(crate) fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    relu: bool,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    #[cfg(feature = "flex")]
    if flex::serves(&x) && flex::serves(&gamma) && flex::serves(&beta) {
        return flex::batch_norm_train(x, gamma, beta, epsilon, relu);
    }
    let normed = module::batch_norm_train(x, gamma, beta, epsilon);
    let y = if relu { activation::relu(normed.output) } else { normed.output };
    let plain = |statistic: Tensor<1>| statistic.detach().without_autodiff();
    (y, plain(normed.mean), plain(normed.variance))
}

/// `x · scale[c] + shift[c]`, followed by a ReLU if `relu` is set.
pub(crate) fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, relu: bool) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if !x.is_autodiff() && !scale.is_autodiff() && flex::serves(&x) && flex::serves(&scale) {
        return flex::scale_shift(x, scale, shift, relu);
    }
    let per_channel = |v: Tensor<1>| v.reshape([1, -1, 1, 1]);
    let y = x * per_channel(scale) + per_channel(shift);
    if relu { activation::relu(y) } else { y }
}

/// 3x3 max pool; padding is never the maximum.
pub(crate) fn max_pool2d(x: Tensor<4>, geometry: PoolGeometry) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if flex::serves(&x) {
        return flex::max_pool2d(x, geometry);
    }
    let options = MaxPoolOptions::new([3, 3]).with_stride([geometry.stride; 2]).with_padding_pairs(geometry.padding);
    module::max_pool2d(x, options)
}

/// 3x3 average pool; the zero padding counts in the divisor if `includes_padding` is set.
pub(crate) fn avg_pool2d(x: Tensor<4>, geometry: PoolGeometry, includes_padding: bool) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if flex::serves(&x) {
        return flex::avg_pool2d(x, geometry, includes_padding);
    }
    let options = AvgPoolOptions::new([3, 3])
        .with_stride([geometry.stride; 2])
        .with_padding_pairs(geometry.padding)
        .with_count_include_pad(includes_padding);
    module::avg_pool2d(x, options)
}

/// Forward pass of a whole network in the CPU engine: `[N, 3, H, W]` → `[N, classes]`, on the images' device. Images on
/// Flex are read in place.
///
/// # Panics
/// If the images are too small, or too large for memory.
pub(crate) fn infer(images: Tensor<4>, engine: &Arc<Engine>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if flex::serves(&images) {
        return flex::infer(images, engine);
    }
    let device = images.device();
    let [batch, _, height, width] = images.dims();
    let pixels = images.into_data().convert::<f32>();
    let pixels = pixels.as_slice::<f32>().expect("converted to f32");
    let logits = engine::logits(engine, pixels, [batch, height, width]);
    let classes = engine.network().classes();
    Tensor::from_data(TensorData::new(logits, [batch, classes]), &device)
}

mod engine;
#[cfg(feature = "flex")]
mod flex;
mod geometry;

pub(crate) use geometry::{ConvGeometry, PoolGeometry};
