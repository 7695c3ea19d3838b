//! Batch normalisation (Algorithm 1 of the paper) over a `[batch, channels, spatial]` tensor.
//!
//! `y = γ (x − mean) / sqrt(var + ε) + β` with statistics per channel, optionally followed by a ReLU in the same pass.
//! Sums are accumulated in `f64`, each channel in one task, so the statistics of a channel depend only on its values.

use crate::disjoint::Disjoint;
use crate::shape::{BatchNormShape, ShapeError, check};
use crate::simd::multiversion;
use rayon::prelude::*;

/// Parameters of a batch normalisation.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormParams<'a> {
    /// Scale γ, one per channel.
    pub gamma: &'a [f32],
    /// Shift β, one per channel.
    pub beta: &'a [f32],
    /// ε, added to the variance.
    pub epsilon: f64,
    /// Fused ReLU after the normalisation; it keeps NaN.
    pub relu: bool,
}

/// Output buffers of the backward pass; all are overwritten.
#[derive(Debug)]
pub struct BatchNormGradients<'a> {
    /// Gradient of the input.
    pub dx: &'a mut [f32],
    /// Gradient of γ, one per channel.
    pub dgamma: &'a mut [f32],
    /// Gradient of β, one per channel.
    pub dbeta: &'a mut [f32],
}

/// Forward pass in training: normalises with the statistics of the batch and writes them to `mean` and `var`. `var` is
/// the biased variance (divided by the number of values).
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn batch_norm_train(
    shape: &BatchNormShape,
    params: &BatchNormParams<'_>,
    x: &[f32],
    y: &mut [f32],
    mean: &mut [f32],
    var: &mut [f32],
) -> Result<(), ShapeError> {
    params.check(shape)?;
    check("x", shape.tensor_len(), x.len())?;
    check("y", shape.tensor_len(), y.len())?;
    check("mean", shape.channels, mean.len())?;
    check("var", shape.channels, var.len())?;
    let y = Disjoint::new(y);
    mean.par_iter_mut().zip(&mut *var).enumerate().for_each(|(c, (mean, var))| {
        // Deviations from one of the values instead of from zero, to avoid cancellation with a large common offset.
        let pivot = x[c * shape.spatial];
        let mut sums = Sums::default();
        for at in shape.planes(c) {
            moments(&x[at..at + shape.spatial], pivot, &mut sums);
        }
        let [sum, squares] = sums.total();
        let n = shape.values_per_channel() as f64;
        *mean = (f64::from(pivot) + sum / n) as f32;
        *var = ((squares - sum * sum / n) / n).max(0.0) as f32;
        // From the rounded statistics, so that the backward pass recomputes exactly the same values.
        let affine = params.affine(c, *mean, *var);
        for at in shape.planes(c) {
            // SAFETY: each task writes only the planes of its channel.
            let y = unsafe { y.range(at, shape.spatial) };
            apply(&x[at..at + shape.spatial], affine, params.relu, y);
        }
    });
    Ok(())
}

/// Backward pass of [`batch_norm_train`], with the `mean` and `var` it returned. The mask of a ReLU is recomputed, so
/// the output of the forward pass need not be kept.
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn batch_norm_train_backward(
    shape: &BatchNormShape,
    params: &BatchNormParams<'_>,
    x: &[f32],
    mean: &[f32],
    var: &[f32],
    dy: &[f32],
    gradients: BatchNormGradients<'_>,
) -> Result<(), ShapeError> {
    let BatchNormGradients { dx, dgamma, dbeta } = gradients;
    params.check(shape)?;
    for (buffer, expected, found) in [
        ("x", shape.tensor_len(), x.len()),
        ("mean", shape.channels, mean.len()),
        ("var", shape.channels, var.len()),
        ("dy", shape.tensor_len(), dy.len()),
        ("dx", shape.tensor_len(), dx.len()),
        ("dgamma", shape.channels, dgamma.len()),
        ("dbeta", shape.channels, dbeta.len()),
    ] {
        check(buffer, expected, found)?;
    }
    let dx = Disjoint::new(dx);
    dgamma.par_iter_mut().zip(&mut *dbeta).enumerate().for_each(|(c, (dgamma, dbeta))| {
        let affine = params.affine(c, mean[c], var[c]);
        let mut sums = Sums::default();
        for at in shape.planes(c) {
            let range = at..at + shape.spatial;
            gradient_moments(&x[range.clone()], &dy[range], affine, params.relu, &mut sums);
        }
        let [sum, along] = sums.total();
        let n = shape.values_per_channel() as f64;
        let inverse_std = (f64::from(var[c]) + params.epsilon).sqrt().recip();
        *dbeta = sum as f32;
        *dgamma = (along * inverse_std) as f32;
        // dx = scale · (g − mean(g) − (x − mean) · mean(g · (x − mean)) / (var + ε))
        let offset = (sum / n) as f32;
        let slope = (along / n * inverse_std * inverse_std) as f32;
        for at in shape.planes(c) {
            // SAFETY: each task writes only the planes of its channel.
            let dx = unsafe { dx.range(at, shape.spatial) };
            apply_backward(
                &x[at..at + shape.spatial],
                &dy[at..at + shape.spatial],
                affine,
                params.relu,
                offset,
                slope,
                dx,
            );
        }
    });
    Ok(())
}

/// Inference: `y = x · scale[c] + shift[c]`, with a ReLU if `relu`.
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn batch_norm_eval(
    shape: &BatchNormShape,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    relu: bool,
    y: &mut [f32],
) -> Result<(), ShapeError> {
    check("x", shape.tensor_len(), x.len())?;
    check("scale", shape.channels, scale.len())?;
    check("shift", shape.channels, shift.len())?;
    check("y", shape.tensor_len(), y.len())?;
    y.par_chunks_mut(shape.spatial).zip(x.par_chunks(shape.spatial)).enumerate().for_each(|(plane, (y, x))| {
        let c = plane % shape.channels;
        apply(x, Affine { mean: 0.0, scale: scale[c], shift: shift[c] }, relu, y);
    });
    Ok(())
}

/// The affine function `(x − mean) · scale + shift`: a normalisation with known statistics.
#[derive(Clone, Copy)]
struct Affine {
    mean: f32,
    scale: f32,
    shift: f32,
}

impl Affine {
    #[inline(always)]
    fn at(self, x: f32) -> f32 {
        (x - self.mean) * self.scale + self.shift
    }
}

impl BatchNormParams<'_> {
    fn check(&self, shape: &BatchNormShape) -> Result<(), ShapeError> {
        check("gamma", shape.channels, self.gamma.len())?;
        check("beta", shape.channels, self.beta.len())
    }

    fn affine(&self, c: usize, mean: f32, var: f32) -> Affine {
        let scale = f64::from(self.gamma[c]) / (f64::from(var) + self.epsilon).sqrt();
        Affine { mean, scale: scale as f32, shift: self.beta[c] }
    }
}

impl BatchNormShape {
    /// Start of channel `c`'s plane in each image.
    fn planes(&self, c: usize) -> impl Iterator<Item = usize> {
        (c * self.spatial..self.tensor_len()).step_by(self.channels * self.spatial)
    }
}

/// Number of partial sums side by side, which fixes the order of additions and lets the compiler use vectors.
const LANES: usize = 16;

/// Two sums over all planes of a channel, each in [`LANES`] partial sums.
#[derive(Default)]
struct Sums([[f64; LANES]; 2]);

impl Sums {
    fn total(&self) -> [f64; 2] {
        self.0.map(|lanes| lanes.iter().sum())
    }
}

multiversion! {
    /// Adds the deviations from `pivot` and their squares.
    fn moments(x: &[f32], pivot: f32, sums: &mut Sums) {
        let [mut sum, mut squares] = sums.0;
        let pivot = f64::from(pivot);
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                let d = f64::from(chunk[i]) - pivot;
                sum[i] += d;
                squares[i] += d * d;
            }
        }
        for (i, &x) in rest.iter().enumerate() {
            let d = f64::from(x) - pivot;
            sum[i] += d;
            squares[i] += d * d;
        }
        sums.0 = [sum, squares];
    }
}

multiversion! {
    fn apply(x: &[f32], affine: Affine, relu: bool, y: &mut [f32]) {
        if relu {
            for (y, &x) in y.iter_mut().zip(x) {
                let v = affine.at(x);
                *y = if v < 0.0 { 0.0 } else { v };
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = affine.at(x);
            }
        }
    }
}

/// Gradient of the normalised value: `dy`, or zero where the ReLU was inactive.
#[inline(always)]
fn masked(x: f32, dy: f32, affine: Affine, relu: bool) -> f32 {
    if relu && affine.at(x) <= 0.0 { 0.0 } else { dy }
}

multiversion! {
    /// Adds `g` and `g · (x − mean)`.
    fn gradient_moments(x: &[f32], dy: &[f32], affine: Affine, relu: bool, sums: &mut Sums) {
        let [mut sum, mut along] = sums.0;
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let (dys, dy_rest) = dy.as_chunks::<LANES>();
        for (x, dy) in xs.iter().zip(dys) {
            for i in 0..LANES {
                let g = f64::from(masked(x[i], dy[i], affine, relu));
                sum[i] += g;
                along[i] += g * f64::from(x[i] - affine.mean);
            }
        }
        for (i, (&x, &dy)) in x_rest.iter().zip(dy_rest).enumerate() {
            let g = f64::from(masked(x, dy, affine, relu));
            sum[i] += g;
            along[i] += g * f64::from(x - affine.mean);
        }
        sums.0 = [sum, along];
    }
}

multiversion! {
    #[allow(clippy::too_many_arguments)] // one private call site
    fn apply_backward(x: &[f32], dy: &[f32], affine: Affine, relu: bool, offset: f32, slope: f32, dx: &mut [f32]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            let g = masked(x, dy, affine, relu);
            *dx = affine.scale * (g - offset - (x - affine.mean) * slope);
        }
    }
}
