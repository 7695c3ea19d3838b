//! 3×3 pools, forward and backward, on one plane of a channel block.
//!
//! A plane is a slice of `height` rows of `[width][16]`, `row` floats apart. Windows are clipped to the plane.

use std::ops::Range;

use crate::norm::Size;
use crate::plan::layout::BLOCK;
use crate::simd::Vector;

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

/// The register at `start + at`, inside a pixel of the plane.
///
/// # Safety
/// `V`'s instruction set; `at` is a multiple of its length below 16.
#[inline(always)]
unsafe fn load<V: Vector>(x: &[f32], start: usize, at: usize) -> V {
    // SAFETY: a whole pixel is inside the slice.
    unsafe { V::load(x[start..][..BLOCK].as_ptr().add(at)) }
}

/// As [`load`].
///
/// # Safety
/// As for [`load`].
#[inline(always)]
unsafe fn store<V: Vector>(value: V, x: &mut [f32], start: usize, at: usize) {
    // SAFETY: a whole pixel is inside the slice.
    unsafe { value.store(x[start..][..BLOCK].as_mut_ptr().add(at)) }
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

/// Maximum over the pixels of a window; NaN if any is.
///
/// # Safety
/// `V`'s instruction set; `at` is a multiple of its length below 16.
#[inline(always)]
unsafe fn maximum<V: Vector>(x: &[f32], at: usize, pixels: impl Iterator<Item = usize>) -> V {
    // SAFETY: by the contract.
    unsafe {
        let mut most = V::splat(f32::NEG_INFINITY);
        for pixel in pixels {
            most = most.max(load(x, pixel, at));
        }
        most
    }
}

/// Adds the gradient of each maximum over the pixels of a window to that of the first pixel that has it.
///
/// # Safety
/// As for [`maximum`].
#[inline(always)]
unsafe fn scatter<V: Vector>(
    x: &[f32],
    at: usize,
    pixels: impl Iterator<Item = usize> + Clone,
    gradient: V,
    to: &mut [f32],
) {
    // SAFETY: by the contract.
    unsafe {
        let most: V = maximum(x, at, pixels.clone());
        let mut rest = gradient;
        for pixel in pixels {
            let taken = rest.where_equal(load(x, pixel, at), most);
            store(load::<V>(to, pixel, at).add(taken), to, pixel, at);
            rest = rest.sub(taken);
        }
    }
}

/// Max pool.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn max<V: Vector>(shape: &Shape, x: &[f32], to: &mut [f32]) {
    for y in 0..shape.out[0] {
        for o in 0..shape.out[1] {
            for at in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: by the contract.
                unsafe {
                    let most: V = match inside(shape, y, o) {
                        Some(pixels) => maximum(x, at, pixels.into_iter()),
                        None => maximum(x, at, clipped(shape, y, o)),
                    };
                    store(most, to, y * shape.rows[1] + o * BLOCK, at);
                }
            }
        }
    }
}

/// Adds the gradient of each maximum to the gradient of the first pixel that has it.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn max_backward<V: Vector>(shape: &Shape, x: &[f32], gradient: &[f32], to: &mut [f32]) {
    for y in 0..shape.out[0] {
        for o in 0..shape.out[1] {
            for at in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: by the contract.
                unsafe {
                    let gradient: V = load(gradient, y * shape.rows[1] + o * BLOCK, at);
                    match inside(shape, y, o) {
                        Some(pixels) => scatter(x, at, pixels.into_iter(), gradient, to),
                        None => scatter(x, at, clipped(shape, y, o), gradient, to),
                    }
                }
            }
        }
    }
}

/// Average pool of stride 1, padded by 1; `scale` is the reciprocal of each window's divisor.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn average<V: Vector>(shape: &Shape, scale: &[f32], x: &[f32], to: &mut [f32]) {
    for y in 0..shape.out[0] {
        for o in 0..shape.out[1] {
            for at in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: by the contract.
                unsafe {
                    let mut sum = V::zero();
                    for pixel in clipped(shape, y, o) {
                        sum = sum.add(load(x, pixel, at));
                    }
                    let mean = sum.mul(V::splat(scale[y * shape.out[1] + o]));
                    store(mean, to, y * shape.rows[1] + o * BLOCK, at);
                }
            }
        }
    }
}

/// Gradient of the input of [`average`]: the windows that contain a pixel are those around it.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn average_backward<V: Vector>(shape: &Shape, scale: &[f32], gradient: &[f32], to: &mut [f32]) {
    for y in 0..shape.size[0] {
        for o in 0..shape.size[1] {
            for at in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: by the contract.
                unsafe {
                    let mut sum = V::zero();
                    for row in shape.window(0, y) {
                        for column in shape.window(1, o) {
                            let g: V = load(gradient, row * shape.rows[1] + column * BLOCK, at);
                            sum = g.mul_add(V::splat(scale[row * shape.out[1] + column]), sum);
                        }
                    }
                    store(sum, to, y * shape.rows[0] + o * BLOCK, at);
                }
            }
        }
    }
}
