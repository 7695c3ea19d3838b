//! Batch normalisation with the non-linearity after it, forward and backward, on one plane of a channel block.
//!
//! A plane is a slice of `height` rows of `[width][16]`, `row` floats apart. The body of each function is ordinary safe
//! code, compiled once for every instruction set.

use crate::plan::layout::BLOCK;
use crate::simd::multiversion;

/// Values of the sixteen channels of a block.
pub(crate) type Lanes = [f32; BLOCK];

/// Non-linearity after a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// max(0, y).
    Relu,
    /// 1 / (1 + exp(−y)).
    Sigmoid,
    /// y.
    Identity,
}

/// Exponential function to the precision of `f32`, without a call, so that loops over it become vector code.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2. Adding and subtracting 1.5 · 2²³ rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let series = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let mut sum = 0.0;
    for term in series {
        sum = sum * r + term;
    }
    // `n` is in -126..=126; NaN becomes 0 here and stays in `sum`.
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    sum * power
}

impl Activation {
    #[inline(always)]
    fn of(self, y: f32) -> f32 {
        match self {
            // Not `max`, which would drop a NaN.
            Self::Relu => {
                if y < 0.0 {
                    0.0
                } else {
                    y
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + exp(-y)),
            Self::Identity => y,
        }
    }

    /// Gradient at `y` of an output gradient `da`.
    #[inline(always)]
    fn pull_back(self, y: f32, da: f32) -> f32 {
        match self {
            Self::Relu => {
                if y > 0.0 {
                    da
                } else {
                    0.0
                }
            }
            Self::Sigmoid => {
                let s = self.of(y);
                da * (s * (1.0 - s))
            }
            Self::Identity => da,
        }
    }
}

/// Extent of a plane: rows, pixels in a row.
pub(crate) type Size = [usize; 2];

multiversion! {
    /// Mean of each channel of a plane, and sum of the squared distances from it.
    pub(crate) fn moments(z: &[f32], row: usize, size: Size, mean: &mut Lanes, squares: &mut Lanes) {
        let [height, width] = size;
        let mut total = [0.0f32; BLOCK];
        for y in 0..height {
            let mut sum = [0.0f32; BLOCK];
            for z in z[y * row..][..width * BLOCK].as_chunks::<BLOCK>().0 {
                for c in 0..BLOCK {
                    sum[c] += z[c];
                }
            }
            for c in 0..BLOCK {
                total[c] += sum[c];
            }
        }
        let count = (height * width) as f32;
        for c in 0..BLOCK {
            mean[c] = total[c] / count;
        }
        let centre = *mean;
        *squares = [0.0; BLOCK];
        for y in 0..height {
            let mut sum = [0.0f32; BLOCK];
            for z in z[y * row..][..width * BLOCK].as_chunks::<BLOCK>().0 {
                for c in 0..BLOCK {
                    let distance = z[c] - centre[c];
                    sum[c] += distance * distance;
                }
            }
            for c in 0..BLOCK {
                squares[c] += sum[c];
            }
        }
    }
}

/// Per-channel constants of `activation(scale · z + shift)` and of its backward pass.
pub(crate) struct Channels<'a> {
    pub(crate) activation: Activation,
    pub(crate) mean: &'a Lanes,
    pub(crate) scale: &'a Lanes,
    pub(crate) shift: &'a Lanes,
}

/// A plane of the layer's output gradient beside the plane of its convolution's output.
pub(crate) struct Planes<'a> {
    pub(crate) z: &'a [f32],
    pub(crate) z_row: usize,
    pub(crate) da: &'a [f32],
    pub(crate) da_row: usize,
    pub(crate) size: Size,
}

/// Loops for one non-linearity, so that none decides for every pixel.
macro_rules! loops {
    ($activate:ident, $sums:ident, $gradient:ident, $activation:expr) => {
        multiversion! {
            fn $activate(k: &Channels<'_>, z: &[f32], row: usize, size: Size, to: &mut [f32], to_row: usize) {
                let [height, width] = size;
                let (scale, shift) = (*k.scale, *k.shift);
                for y in 0..height {
                    let z = z[y * row..][..width * BLOCK].as_chunks::<BLOCK>().0;
                    let to = to[y * to_row..][..width * BLOCK].as_chunks_mut::<BLOCK>().0;
                    for (to, z) in to.iter_mut().zip(z) {
                        for c in 0..BLOCK {
                            to[c] = $activation.of(z[c] * scale[c] + shift[c]);
                        }
                    }
                }
            }
        }
        multiversion! {
            fn $sums(k: &Channels<'_>, p: &Planes<'_>, of_gradient: &mut Lanes, of_product: &mut Lanes) {
                let [height, width] = p.size;
                let (mean, scale, shift) = (*k.mean, *k.scale, *k.shift);
                (*of_gradient, *of_product) = ([0.0; BLOCK], [0.0; BLOCK]);
                for y in 0..height {
                    let z = p.z[y * p.z_row..][..width * BLOCK].as_chunks::<BLOCK>().0;
                    let da = p.da[y * p.da_row..][..width * BLOCK].as_chunks::<BLOCK>().0;
                    let (mut sum, mut product) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
                    for (z, da) in z.iter().zip(da) {
                        for c in 0..BLOCK {
                            let g = $activation.pull_back(z[c] * scale[c] + shift[c], da[c]);
                            sum[c] += g;
                            product[c] += g * (z[c] - mean[c]);
                        }
                    }
                    for c in 0..BLOCK {
                        of_gradient[c] += sum[c];
                        of_product[c] += product[c];
                    }
                }
            }
        }
        multiversion! {
            fn $gradient(k: &Channels<'_>, p: &Planes<'_>, slope: &Lanes, offset: &Lanes, to: &mut [f32], to_row: usize) {
                let [height, width] = p.size;
                let (scale, shift, slope, offset) = (*k.scale, *k.shift, *slope, *offset);
                for y in 0..height {
                    let z = p.z[y * p.z_row..][..width * BLOCK].as_chunks::<BLOCK>().0;
                    let da = p.da[y * p.da_row..][..width * BLOCK].as_chunks::<BLOCK>().0;
                    let to = to[y * to_row..][..width * BLOCK].as_chunks_mut::<BLOCK>().0;
                    for ((to, z), da) in to.iter_mut().zip(z).zip(da) {
                        for c in 0..BLOCK {
                            let g = $activation.pull_back(z[c] * scale[c] + shift[c], da[c]);
                            to[c] = scale[c] * g + (slope[c] * z[c] + offset[c]);
                        }
                    }
                }
            }
        }
    };
}

loops!(activate_relu, sums_relu, gradient_relu, Activation::Relu);
loops!(activate_sigmoid, sums_sigmoid, gradient_sigmoid, Activation::Sigmoid);
loops!(activate_identity, sums_identity, gradient_identity, Activation::Identity);

/// Non-linearity of `scale · z + shift`.
pub(crate) fn activate(k: &Channels<'_>, z: &[f32], row: usize, size: Size, to: &mut [f32], to_row: usize) {
    match k.activation {
        Activation::Relu => activate_relu(k, z, row, size, to, to_row),
        Activation::Sigmoid => activate_sigmoid(k, z, row, size, to, to_row),
        Activation::Identity => activate_identity(k, z, row, size, to, to_row),
    }
}

/// Sum over a plane of `g`, the gradient before the non-linearity, and of `g · (z − mean)`, for each channel.
pub(crate) fn gradient_sums(k: &Channels<'_>, p: &Planes<'_>, of_gradient: &mut Lanes, of_product: &mut Lanes) {
    match k.activation {
        Activation::Relu => sums_relu(k, p, of_gradient, of_product),
        Activation::Sigmoid => sums_sigmoid(k, p, of_gradient, of_product),
        Activation::Identity => sums_identity(k, p, of_gradient, of_product),
    }
}

/// Gradient of the convolution's output: `scale · g + slope · z + offset`.
pub(crate) fn gradient(k: &Channels<'_>, p: &Planes<'_>, slope: &Lanes, offset: &Lanes, to: &mut [f32], to_row: usize) {
    match k.activation {
        Activation::Relu => gradient_relu(k, p, slope, offset, to, to_row),
        Activation::Sigmoid => gradient_sigmoid(k, p, slope, offset, to, to_row),
        Activation::Identity => gradient_identity(k, p, slope, offset, to, to_row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_function() {
        for i in -8600..8600 {
            let x = i as f32 / 100.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 4e-7, "exp({x}) = {found}, expected {expected}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(Activation::Sigmoid.of(-1e30), 1.0 / (1.0 + exp(87.0)));
        assert_eq!(Activation::Sigmoid.of(f32::INFINITY), 1.0);
    }
}
