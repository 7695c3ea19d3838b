//! The network's pools.

use burn::tensor::Tensor;

use crate::ops::{self, PoolGeometry};

/// 3x3 max pool; padding is never the maximum. `padding` maps a height or width to its padding. `[N, C, H, W]` → `[N,
/// C, H', W']`.
pub(crate) fn max(x: Tensor<4>, stride: usize, padding: impl Fn(usize) -> (usize, usize)) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let padding = [padding(height), padding(width)];
    ops::max_pool2d(x, PoolGeometry { stride, padding })
}

/// 3x3/1 average pool, padded with one pixel of zeros. `[N, C, H, W]` → the same.
pub(crate) fn average(x: Tensor<4>, includes_padding: bool) -> Tensor<4> {
    let geometry = PoolGeometry { stride: 1, padding: [(1, 1); 2] };
    ops::avg_pool2d(x, geometry, includes_padding)
}

/// Mean over all pixels. `[N, C, H, W]` → `[N, C]`.
pub(crate) fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c])
}
