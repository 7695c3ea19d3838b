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

/// Maximum of each channel over a window; NaN if any is.
#[inline(always)]
fn maximum(shape: &Shape, x: &[f32], rows: Range<usize>, columns: Range<usize>) -> Lanes {
    let mut most = [f32::NEG_INFINITY; BLOCK];
    for row in rows {
        for column in columns.clone() {
            let x = at(x, row * shape.rows[0] + column * BLOCK);
            for c in 0..BLOCK {
                most[c] = if x[c] > most[c] || x[c].is_nan() { x[c] } else { most[c] };
            }
        }
    }
    most
}

multiversion! {
    /// Max pool.
    pub(crate) fn max(shape: &Shape, x: &[f32], to: &mut [f32]) {
        for y in 0..shape.out[0] {
            for o in 0..shape.out[1] {
                let most = maximum(shape, x, shape.window(0, y), shape.window(1, o));
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
                let most = maximum(shape, x, shape.window(0, y), shape.window(1, o));
                let mut rest = *at(gradient, y * shape.rows[1] + o * BLOCK);
                for row in shape.window(0, y) {
                    for column in shape.window(1, o) {
                        let start = row * shape.rows[0] + column * BLOCK;
                        let (x, to) = (at(x, start), at_mut(to, start));
                        for c in 0..BLOCK {
                            let hit = x[c] == most[c] || x[c].is_nan();
                            to[c] += if hit { rest[c] } else { 0.0 };
                            rest[c] = if hit { 0.0 } else { rest[c] };
                        }
                    }
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
