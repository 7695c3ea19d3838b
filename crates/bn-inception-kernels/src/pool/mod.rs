//! 3×3 pools, forward and backward, on one plane of a channel block.
//!
//! A plane is a slice of `height` rows of `[width][16]`, `row` floats apart. Windows are clipped to the plane.

use std::ops::Range;

use crate::norm::{Lanes, Size};
use crate::plan::layout::BLOCK;
use crate::simd::multiversion;

/// Extents of a pool of planes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Height and width of the input.
    pub(crate) size: Size,
    /// Height and width of the output.
    pub(crate) out: Size,
    /// Distance of two windows in pixels.
    pub(crate) stride: usize,
    /// Padding above and before the input.
    pub(crate) padding: [usize; 2],
    /// Floats between two rows of the input and of the output.
    pub(crate) rows: [usize; 2],
}

impl Shape {
    /// Input positions of window `o` along an axis.
    #[inline(always)]
    fn window(&self, axis: usize, o: usize) -> Range<usize> {
        let end = (o * self.stride + 3).saturating_sub(self.padding[axis]);
        (o * self.stride).saturating_sub(self.padding[axis])..end.min(self.size[axis])
    }
}

#[inline(always)]
fn at(x: &[f32], start: usize) -> &Lanes {
    x[start..].first_chunk().expect("a pixel of the plane")
}

#[inline(always)]
fn at_mut(x: &mut [f32], start: usize) -> &mut Lanes {
    x[start..].first_chunk_mut().expect("a pixel of the plane")
}

/// Start of each pixel of a window that lies inside the plane as a whole, in row order.
#[inline(always)]
fn inside(shape: &Shape, y: usize, o: usize) -> Option<[usize; 9]> {
    let top = (y * shape.stride).wrapping_sub(shape.padding[0]);
    let left = (o * shape.stride).wrapping_sub(shape.padding[1]);
    let inside = top.wrapping_add(3) <= shape.size[0] && left.wrapping_add(3) <= shape.size[1];
    // A window that starts before the plane has wrapped around and ends below 3.
    let inside = inside && top < shape.size[0] && left < shape.size[1];
    inside.then(|| std::array::from_fn(|t| (top + t / 3) * shape.rows[0] + (left + t % 3) * BLOCK))
}

/// The same of the pixels inside the plane, of any window.
#[inline(always)]
fn clipped(shape: &Shape, y: usize, o: usize) -> impl Iterator<Item = usize> + Clone {
    let (rows, columns, row) = (shape.window(0, y), shape.window(1, o), shape.rows[0]);
    rows.flat_map(move |y| columns.clone().map(move |x| y * row + x * BLOCK))
}

/// Maximum of each channel over the pixels of a window; NaN if any is.
#[inline(always)]
fn maximum(x: &[f32], pixels: impl Iterator<Item = usize>) -> Lanes {
    let mut most = [f32::NEG_INFINITY; BLOCK];
    for pixel in pixels {
        let x = at(x, pixel);
        for c in 0..BLOCK {
            most[c] = if x[c] > most[c] || x[c].is_nan() { x[c] } else { most[c] };
        }
    }
    most
}

/// Adds the gradient of each maximum over the pixels of a window to that of the first pixel that has it.
#[inline(always)]
fn scatter(x: &[f32], pixels: impl Iterator<Item = usize> + Clone, gradient: &Lanes, to: &mut [f32]) {
    let most = maximum(x, pixels.clone());
    let mut rest = *gradient;
    for pixel in pixels {
        let (x, to) = (at(x, pixel), at_mut(to, pixel));
        for c in 0..BLOCK {
            let hit = x[c] == most[c] || x[c].is_nan();
            to[c] += if hit { rest[c] } else { 0.0 };
            rest[c] = if hit { 0.0 } else { rest[c] };
        }
    }
}

multiversion! {
    /// Max pool.
    pub(crate) fn max(shape: &Shape, x: &[f32], to: &mut [f32]) {
        for y in 0..shape.out[0] {
            for o in 0..shape.out[1] {
                let most = match inside(shape, y, o) {
                    Some(pixels) => maximum(x, pixels.into_iter()),
                    None => maximum(x, clipped(shape, y, o)),
                };
                *at_mut(to, y * shape.rows[1] + o * BLOCK) = most;
            }
        }
    }
}

multiversion! {
    /// Adds the gradient of each maximum to the gradient of the first pixel that has it.
    pub(crate) fn max_backward(shape: &Shape, x: &[f32], gradient: &[f32], to: &mut [f32]) {
        for y in 0..shape.out[0] {
            for o in 0..shape.out[1] {
                let gradient = at(gradient, y * shape.rows[1] + o * BLOCK);
                match inside(shape, y, o) {
                    Some(pixels) => scatter(x, pixels.into_iter(), gradient, to),
                    None => scatter(x, clipped(shape, y, o), gradient, to),
                }
            }
        }
    }
}

multiversion! {
    /// Average pool of stride 1, padded by 1; `scale` is the reciprocal of each window's divisor.
    pub(crate) fn average(shape: &Shape, scale: &[f32], x: &[f32], to: &mut [f32]) {
        for y in 0..shape.out[0] {
            for o in 0..shape.out[1] {
                let mut sum = [0.0f32; BLOCK];
                for row in shape.window(0, y) {
                    for column in shape.window(1, o) {
                        let x = at(x, row * shape.rows[0] + column * BLOCK);
                        for c in 0..BLOCK {
                            sum[c] += x[c];
                        }
                    }
                }
                let scale = scale[y * shape.out[1] + o];
                let to = at_mut(to, y * shape.rows[1] + o * BLOCK);
                for c in 0..BLOCK {
                    to[c] = sum[c] * scale;
                }
            }
        }
    }
}

multiversion! {
    /// Gradient of the input of [`average`]: the windows that contain a pixel are those around it.
    pub(crate) fn average_backward(shape: &Shape, scale: &[f32], gradient: &[f32], to: &mut [f32]) {
        for y in 0..shape.size[0] {
            for o in 0..shape.size[1] {
                let mut sum = [0.0f32; BLOCK];
                for row in shape.window(0, y) {
                    for column in shape.window(1, o) {
                        let g = at(gradient, row * shape.rows[1] + column * BLOCK);
                        let scale = scale[row * shape.out[1] + column];
                        for c in 0..BLOCK {
                            sum[c] += g[c] * scale;
                        }
                    }
                }
                *at_mut(to, y * shape.rows[0] + o * BLOCK) = sum;
            }
        }
    }
}

multiversion! {
    /// Mean of each channel.
    pub(crate) fn mean(x: &[f32], row: usize, size: Size, to: &mut Lanes) {
        let mut total = [0.0f32; BLOCK];
        for y in 0..size[0] {
            for x in x[y * row..][..size[1] * BLOCK].as_chunks::<BLOCK>().0 {
                for c in 0..BLOCK {
                    total[c] += x[c];
                }
            }
        }
        for c in 0..BLOCK {
            to[c] = total[c] / (size[0] * size[1]) as f32;
        }
    }
}
