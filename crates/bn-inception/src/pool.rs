//! The network's poolings.

use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};

use crate::config::MaxPooling;

/// 3x3 max pool with `stride`; the border never wins. `[N, C, H, W]` → `[N, C, H', W']`.
pub(crate) fn max(x: Tensor<4>, rule: MaxPooling, stride: usize) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let padding = [rule.of_pool(height, stride), rule.of_pool(width, stride)];
    let options = MaxPoolOptions::new([3, 3])
        .with_stride([stride; 2])
        .with_padding_pairs(padding);
    module::max_pool2d(x, options)
}

/// 3x3/1 average pool with one pixel of zeros around. `[N, C, H, W]` → the same.
pub(crate) fn average(x: Tensor<4>, includes_padding: bool) -> Tensor<4> {
    let options = AvgPoolOptions::new([3, 3])
        .with_stride([1, 1])
        .with_padding([1, 1])
        .with_count_include_pad(includes_padding);
    module::avg_pool2d(x, options)
}

/// Mean over all pixels. `[N, C, H, W]` → `[N, C]`.
pub(crate) fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c])
}
