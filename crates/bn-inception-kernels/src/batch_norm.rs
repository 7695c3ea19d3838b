//! Batch normalisation (Algorithm 1 of the paper) over a `[batch, channels, spatial]` tensor.
//!
//! `y = γ (x − mean) / sqrt(var + ε) + β` with statistics per channel, optionally followed by a ReLU in the
//! same pass. Sums are accumulated in `f64`, one channel by one task, so a channel's statistics depend on nothing but
//! its values.

use crate::disjoint::Disjoint;
use crate::shape::{BatchNormShape, ShapeError, check};
use crate::simd::{LANES, widened};
use rayon::prelude::*;

/// What the normalisation applies after standardising.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormParams<'a> {
    /// Scale γ, one per channel.
    pub gamma: &'a [f32],
    /// Shift β, one per channel.
    pub beta: &'a [f32],
    /// ε, added to the variance.
    pub epsilon: f64,
    /// Whether a ReLU follows. NaN passes through it.
    pub relu: bool,
}

/// Where the backward pass puts its results; all are overwritten.
#[derive(Debug)]
pub struct BatchNormGradients<'a> {
    /// Gradient of the input.
    pub dx: &'a mut [f32],
    /// Gradient of γ, one per channel.
    pub dgamma: &'a mut [f32],
    /// Gradient of β, one per channel.
    pub dbeta: &'a mut [f32],
}

/// Forward pass in training: normalises with the batch's own statistics and returns them in `mean` and `var`.
/// `var` is the biased variance (divided by the number of values).
///
/// # Errors
/// A slice whose length is not the shape's.
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
    mean.par_iter_mut()
        .zip(&mut *var)
        .enumerate()
        .for_each(|(c, (mean, var))| {
            // Deviations from one of the values, not from zero: a large common offset would otherwise cancel.
            let pivot = x[c * shape.spatial];
            let mut sums = Sums::default();
            for at in shape.planes(c) {
                moments(&x[at..at + shape.spatial], pivot, &mut sums);
            }
            let [sum, squares] = sums.total();
            let n = shape.values_per_channel() as f64;
            *mean = (f64::from(pivot) + sum / n) as f32;
            *var = ((squares - sum * sum / n) / n).max(0.0) as f32;
            // From the rounded statistics, so that the backward pass recomputes the very same values.
            let line = params.line(c, *mean, *var);
            for at in shape.planes(c) {
                // SAFETY: each task writes only the planes of its channel.
                let y = unsafe { y.range(at, shape.spatial) };
                apply(&x[at..at + shape.spatial], line, params.relu, y);
            }
        });
    Ok(())
}

/// Backward pass of [`batch_norm_train`]; `mean` and `var` are what it returned. With a ReLU its mask is
/// recomputed, so the forward pass need not keep its output.
///
/// # Errors
/// A slice whose length is not the shape's.
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
    dgamma
        .par_iter_mut()
        .zip(&mut *dbeta)
        .enumerate()
        .for_each(|(c, (dgamma, dbeta))| {
            let line = params.line(c, mean[c], var[c]);
            let mut sums = Sums::default();
            for at in shape.planes(c) {
                let range = at..at + shape.spatial;
                gradient_moments(&x[range.clone()], &dy[range], line, params.relu, &mut sums);
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
                    line,
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
/// A slice whose length is not the shape's.
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
    y.par_chunks_mut(shape.spatial)
        .zip(x.par_chunks(shape.spatial))
        .enumerate()
        .for_each(|(plane, (y, x))| {
            let c = plane % shape.channels;
            apply(
                x,
                Line {
                    mean: 0.0,
                    scale: scale[c],
                    shift: shift[c],
                },
                relu,
                y,
            );
        });
    Ok(())
}

/// `(x − mean) · scale + shift`: what normalisation is once the statistics are known.
#[derive(Clone, Copy)]
struct Line {
    mean: f32,
    scale: f32,
    shift: f32,
}

impl Line {
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

    fn line(&self, c: usize, mean: f32, var: f32) -> Line {
        let scale = f64::from(self.gamma[c]) / (f64::from(var) + self.epsilon).sqrt();
        Line {
            mean,
            scale: scale as f32,
            shift: self.beta[c],
        }
    }
}

impl BatchNormShape {
    /// Where each image's plane of channel `c` starts.
    fn planes(&self, c: usize) -> impl Iterator<Item = usize> {
        (c * self.spatial..self.tensor_len()).step_by(self.channels * self.spatial)
    }
}

/// Two sums, kept in lanes over all planes of a channel.
#[derive(Default)]
struct Sums([[f64; LANES]; 2]);

impl Sums {
    fn total(&self) -> [f64; 2] {
        self.0.map(|lanes| lanes.iter().sum())
    }
}

widened! {
    /// Adds the deviations from `pivot`, and their squares.
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

widened! {
    fn apply(x: &[f32], line: Line, relu: bool, y: &mut [f32]) {
        if relu {
            for (y, &x) in y.iter_mut().zip(x) {
                let v = line.at(x);
                *y = if v < 0.0 { 0.0 } else { v };
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = line.at(x);
            }
        }
    }
}

/// The gradient that reaches the normalisation: `dy`, or zero where the ReLU cut.
#[inline(always)]
fn masked(x: f32, dy: f32, line: Line, relu: bool) -> f32 {
    if relu && line.at(x) <= 0.0 { 0.0 } else { dy }
}

widened! {
    /// Adds `g` and `g · (x − mean)`.
    fn gradient_moments(x: &[f32], dy: &[f32], line: Line, relu: bool, sums: &mut Sums) {
        let [mut sum, mut along] = sums.0;
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let (dys, dy_rest) = dy.as_chunks::<LANES>();
        for (x, dy) in xs.iter().zip(dys) {
            for i in 0..LANES {
                let g = f64::from(masked(x[i], dy[i], line, relu));
                sum[i] += g;
                along[i] += g * f64::from(x[i] - line.mean);
            }
        }
        for (i, (&x, &dy)) in x_rest.iter().zip(dy_rest).enumerate() {
            let g = f64::from(masked(x, dy, line, relu));
            sum[i] += g;
            along[i] += g * f64::from(x - line.mean);
        }
        sums.0 = [sum, along];
    }
}

widened! {
    #[allow(clippy::too_many_arguments)] // one private call site
    fn apply_backward(x: &[f32], dy: &[f32], line: Line, relu: bool, offset: f32, slope: f32, dx: &mut [f32]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            let g = masked(x, dy, line, relu);
            *dx = line.scale * (g - offset - (x - line.mean) * slope);
        }
    }
}
