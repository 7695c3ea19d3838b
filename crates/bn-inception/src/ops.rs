//! Tensor operations with our own implementations.
//!
//! On the CPU backends (Flex, ndarray) in `f32` whole runs of layers are one call into the engine of
//! `bn-inception-kernels`, forward and backward: one node of the autodiff graph. Elsewhere layers are Burn's own
//! operations.

use std::sync::Arc;

use bn_inception_kernels::infer::{End, Engine};
use bn_inception_kernels::train::{Statistics, Trainer};
#[cfg(feature = "flex")]
use burn::backend::DispatchDevice;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Tensor, TensorData, activation, module};

use crate::device;

/// True if the engine accepts this tensor: `f32` on a CPU backend.
pub(crate) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    #[cfg(test)]
    if WITHOUT_ENGINE.get() {
        return false;
    }
    tensor.dtype() == DType::F32 && device::is_cpu(&tensor.device().inner())
}

#[cfg(test)]
thread_local! {
    static WITHOUT_ENGINE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `f` with Burn's own operations in the engine's place.
#[cfg(test)]
pub(crate) fn without_engine<T>(f: impl FnOnce() -> T) -> T {
    WITHOUT_ENGINE.set(true);
    let result = f();
    WITHOUT_ENGINE.set(false);
    result
}

/// Convolution without bias: `[N, C, H, W] ⊛ [O, C/groups, k, k] → [N, O, H', W']`.
pub(crate) fn conv2d(x: Tensor<4>, weight: Tensor<4>, geometry: ConvGeometry) -> Tensor<4> {
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
    let normed = module::batch_norm_train(x, gamma, beta, epsilon);
    let y = if relu { activation::relu(normed.output) } else { normed.output };
    let plain = |statistic: Tensor<1>| statistic.detach().without_autodiff();
    (y, plain(normed.mean), plain(normed.variance))
}

/// `x · scale[c] + shift[c]`, followed by a ReLU if `relu` is set.
pub(crate) fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, relu: bool) -> Tensor<4> {
    let per_channel = |v: Tensor<1>| v.reshape([1, -1, 1, 1]);
    let y = x * per_channel(scale) + per_channel(shift);
    if relu { activation::relu(y) } else { y }
}

/// 3x3 max pool; padding is never the maximum.
pub(crate) fn max_pool2d(x: Tensor<4>, geometry: PoolGeometry) -> Tensor<4> {
    let options = MaxPoolOptions::new([3, 3]).with_stride([geometry.stride; 2]).with_padding_pairs(geometry.padding);
    module::max_pool2d(x, options)
}

/// 3x3 average pool; the zero padding counts in the divisor if `includes_padding` is set.
pub(crate) fn avg_pool2d(x: Tensor<4>, geometry: PoolGeometry, includes_padding: bool) -> Tensor<4> {
    let options = AvgPoolOptions::new([3, 3])
        .with_stride([geometry.stride; 2])
        .with_padding_pairs(geometry.padding)
        .with_count_include_pad(includes_padding);
    module::avg_pool2d(x, options)
}

/// True if two tensors on a CPU backend, of one dimension and in `f32`, hold the same bits. Those that share their memory
/// are not compared.
pub(crate) fn same(a: &Tensor<1>, b: &Tensor<1>) -> bool {
    #[cfg(feature = "flex")]
    if let Some(same) = flex::same(a, b) {
        return same;
    }
    let [a, b] = [a, b].map(|tensor| tensor.clone().into_data());
    a.as_bytes() == b.as_bytes()
}

/// Output of a run of layers, `[N, C]` or `[N, C, H, W]`, in the CPU engine, and the statistics of the batch for each of
/// its convolutions; `None` if no CPU backend is compiled in. [`serves`] holds for `x` and the parameters.
///
/// # Panics
/// If `x` has another number of channels, or is too small or too large.
pub(crate) fn segment<const D: usize>(
    x: Tensor<4>,
    parameters: Vec<ConvParameters>,
    trainer: &Arc<Trainer>,
) -> Option<(Tensor<D>, Vec<Statistics>)> {
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    return Some(segment::segment(x, parameters, trainer));
    #[cfg(not(any(feature = "flex", feature = "ndarray")))]
    {
        let _ = (x, parameters, trainer);
        None
    }
}

/// Forward pass of a network in the CPU engine, up to `end`: `[N, 3, H, W]` → logits `[N, classes]`, means `[N, C]` or a map
/// `[N, C, H', W']`, on the images' device. Images on Flex are read in place.
///
/// # Panics
/// If the images have other than three channels, are too small, or too large for memory.
pub(crate) fn infer<const D: usize>(images: Tensor<4>, engine: &Arc<Engine>, end: End) -> Tensor<D> {
    let [batch, channels, height, width] = images.dims();
    assert_eq!(channels, 3, "images have {channels} channels, expected 3");
    #[cfg(feature = "flex")]
    if matches!(images.device().inner().as_dispatch(), DispatchDevice::Flex(_)) && images.dtype() == DType::F32 {
        return flex::infer(images, engine, end);
    }
    let device = images.device();
    let pixels = images.into_data().convert::<f32>();
    let pixels = pixels.as_slice::<f32>().expect("converted to f32");
    let (output, shape) = engine::run(engine, end, pixels, [batch, height, width]);
    Tensor::from_data(TensorData::new(output, shape), &device)
}

mod engine;
#[cfg(feature = "flex")]
mod flex;
mod geometry;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod host;
#[cfg(any(feature = "flex", feature = "ndarray"))]
#[cfg_attr(feature = "ndarray", allow(deprecated))]
mod segment;

mod parameters;

pub(crate) use geometry::{ConvGeometry, PoolGeometry};
pub(crate) use parameters::ConvParameters;
