//! Scalar reference implementation of every training kernel: plain loops over the definition, accumulating in `f64`.
//!
//! The tests compare the fast kernels with these. Lengths are not checked: a slice shorter than its shape panics.
//! Results are not rounded to `f32`.

use crate::batch_norm::BatchNormParams;
use crate::nchw_pool::Pool2dShape;
use crate::shape::{BatchNormShape, Conv2dShape};

/// Calls `visit(y, x, weight)` with the element indices of every multiplication of the convolution.
fn multiplications(s: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (oh, ow) = (s.out_height(), s.out_width());
    let (ic, oc) = (s.in_channels / s.groups, s.out_channels / s.groups);
    for n in 0..s.batch {
        for m in 0..s.out_channels {
            for c in 0..ic {
                for (oy, ox) in pairs(oh, ow) {
                    for (ky, kx) in pairs(s.kernel[0], s.kernel[1]) {
                        let iy = (oy * s.stride[0] + ky).wrapping_sub(s.padding[0]);
                        let ix = (ox * s.stride[1] + kx).wrapping_sub(s.padding[1]);
                        if iy < s.height && ix < s.width {
                            let x = ((n * s.in_channels + m / oc * ic + c) * s.height + iy) * s.width + ix;
                            let w = ((m * ic + c) * s.kernel[0] + ky) * s.kernel[1] + kx;
                            visit(((n * s.out_channels + m) * oh + oy) * ow + ox, x, w);
                        }
                    }
                }
            }
        }
    }
}

fn pairs(rows: usize, cols: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |r| (0..cols).map(move |c| (r, c)))
}

/// Reference for [`crate::conv2d`].
pub fn conv2d(shape: &Conv2dShape, x: &[f32], weight: &[f32]) -> Vec<f64> {
    let mut y = vec![0.0; shape.output_len()];
    multiplications(shape, |iy, ix, iw| y[iy] += f64::from(x[ix]) * f64::from(weight[iw]));
    y
}

/// Reference for [`crate::conv2d_backward_input`].
pub fn conv2d_backward_input(shape: &Conv2dShape, weight: &[f32], dy: &[f32]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.input_len()];
    multiplications(shape, |iy, ix, iw| dx[ix] += f64::from(dy[iy]) * f64::from(weight[iw]));
    dx
}

/// Reference for [`crate::conv2d_backward_weight`].
pub fn conv2d_backward_weight(shape: &Conv2dShape, x: &[f32], dy: &[f32]) -> Vec<f64> {
    let mut dw = vec![0.0; shape.weight_len()];
    multiplications(shape, |iy, ix, iw| dw[iw] += f64::from(dy[iy]) * f64::from(x[ix]));
    dw
}

/// Results of [`batch_norm_train`].
#[derive(Debug, Clone)]
pub struct BatchNormOutput {
    /// The normalised tensor.
    pub y: Vec<f64>,
    /// Mean per channel.
    pub mean: Vec<f64>,
    /// Biased variance per channel.
    pub var: Vec<f64>,
}

/// Reference for [`crate::batch_norm_train`], in two passes.
pub fn batch_norm_train(shape: &BatchNormShape, params: &BatchNormParams<'_>, x: &[f32]) -> BatchNormOutput {
    let n = shape.values_per_channel() as f64;
    let channel = |i: usize| i / shape.spatial % shape.channels;
    let (mut mean, mut var) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    for (i, &v) in x.iter().enumerate() {
        mean[channel(i)] += f64::from(v) / n;
    }
    for (i, &v) in x.iter().enumerate() {
        var[channel(i)] += (f64::from(v) - mean[channel(i)]).powi(2) / n;
    }
    let y = x.iter().enumerate().map(|(i, &v)| {
        let c = channel(i);
        let standard = (f64::from(v) - mean[c]) / (var[c] + params.epsilon).sqrt();
        let y = f64::from(params.gamma[c]) * standard + f64::from(params.beta[c]);
        if params.relu && y < 0.0 { 0.0 } else { y }
    });
    BatchNormOutput { y: y.collect(), mean, var }
}

/// Results of [`batch_norm_train_backward`].
#[derive(Debug, Clone)]
pub struct BatchNormBackwardOutput {
    /// Gradient of the input.
    pub dx: Vec<f64>,
    /// Gradient of γ.
    pub dgamma: Vec<f64>,
    /// Gradient of β.
    pub dbeta: Vec<f64>,
}

/// Reference for [`crate::batch_norm_train_backward`]; the statistics are recomputed from `x`.
pub fn batch_norm_train_backward(
    shape: &BatchNormShape,
    params: &BatchNormParams<'_>,
    x: &[f32],
    dy: &[f32],
) -> BatchNormBackwardOutput {
    let BatchNormOutput { y, mean, var } = batch_norm_train(shape, params, x);
    let n = shape.values_per_channel() as f64;
    let channel = |i: usize| i / shape.spatial % shape.channels;
    let standard = |i: usize| (f64::from(x[i]) - mean[channel(i)]) / (var[channel(i)] + params.epsilon).sqrt();
    let g = |i: usize| {
        if params.relu && y[i] <= 0.0 { 0.0 } else { f64::from(dy[i]) }
    };
    let (mut dgamma, mut dbeta) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    for i in 0..x.len() {
        dbeta[channel(i)] += g(i);
        dgamma[channel(i)] += g(i) * standard(i);
    }
    let dx = (0..x.len()).map(|i| {
        let c = channel(i);
        let scale = f64::from(params.gamma[c]) / (var[c] + params.epsilon).sqrt();
        scale * (g(i) - dbeta[c] / n - standard(i) * dgamma[c] / n)
    });
    BatchNormBackwardOutput { dx: dx.collect(), dgamma, dbeta }
}

/// Reference for [`crate::batch_norm_eval`].
pub fn batch_norm_eval(shape: &BatchNormShape, x: &[f32], scale: &[f32], shift: &[f32], relu: bool) -> Vec<f64> {
    let y = x.iter().enumerate().map(|(i, &v)| {
        let c = i / shape.spatial % shape.channels;
        let y = f64::from(v) * f64::from(scale[c]) + f64::from(shift[c]);
        if relu && y < 0.0 { 0.0 } else { y }
    });
    y.collect()
}

/// Calls `visit(output, input, divisor)` for every input pixel of every window, in row order.
fn windows(s: &Pool2dShape, include_pad: bool, mut visit: impl FnMut(usize, usize, f64)) {
    let [height, width] = s.size;
    for plane in 0..s.planes {
        for (oy, ox) in pairs(s.out_height(), s.out_width()) {
            let (top, left) = (
                (oy * s.stride[0]) as isize - s.padding[0] as isize,
                (ox * s.stride[1]) as isize - s.padding[1] as isize,
            );
            let bottom = (top + s.kernel[0] as isize).min((height + s.padding[2]) as isize);
            let right = (left + s.kernel[1] as isize).min((width + s.padding[3]) as isize);
            let (y0, x0) = (top.max(0) as usize, left.max(0) as usize);
            let (y1, x1) = ((bottom as usize).min(height), (right as usize).min(width));
            let area = if include_pad { (bottom - top) * (right - left) } else { ((y1 - y0) * (x1 - x0)) as isize };
            for y in y0..y1 {
                for x in x0..x1 {
                    let output = (plane * s.out_height() + oy) * s.out_width() + ox;
                    visit(output, (plane * height + y) * width + x, area as f64);
                }
            }
        }
    }
}

/// Reference for [`crate::max_pool2d`]: the maxima and their indices in the plane.
pub fn max_pool2d(shape: &Pool2dShape, x: &[f32]) -> (Vec<f32>, Vec<u32>) {
    let plane = shape.size[0] * shape.size[1];
    let mut best: Vec<Option<usize>> = vec![None; shape.output_len()];
    windows(shape, false, |o, i, _| {
        if best[o].is_none_or(|b| x[i] > x[b] || x[i].is_nan()) {
            best[o] = Some(i);
        }
    });
    best.into_iter().flatten().map(|i| (x[i], (i % plane) as u32)).unzip()
}

/// Reference for [`crate::max_pool2d_backward`].
pub fn max_pool2d_backward(shape: &Pool2dShape, dy: &[f32], indices: &[u32]) -> Vec<f64> {
    let (input, output) = (shape.size[0] * shape.size[1], shape.out_height() * shape.out_width());
    let mut dx = vec![0.0; shape.input_len()];
    for (o, (&g, &i)) in dy.iter().zip(indices).enumerate() {
        dx[o / output * input + i as usize] += f64::from(g);
    }
    dx
}

/// Reference for [`crate::avg_pool2d`].
pub fn avg_pool2d(shape: &Pool2dShape, count_include_pad: bool, x: &[f32]) -> Vec<f64> {
    let (mut sums, mut areas) = (vec![0.0; shape.output_len()], vec![1.0; shape.output_len()]);
    windows(shape, count_include_pad, |o, i, area| {
        sums[o] += f64::from(x[i]);
        areas[o] = area;
    });
    sums.into_iter().zip(areas).map(|(sum, area)| sum / area).collect()
}

/// Reference for [`crate::avg_pool2d_backward`].
pub fn avg_pool2d_backward(shape: &Pool2dShape, count_include_pad: bool, dy: &[f32]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.input_len()];
    windows(shape, count_include_pad, |o, i, area| dx[i] += f64::from(dy[o]) / area);
    dx
}
