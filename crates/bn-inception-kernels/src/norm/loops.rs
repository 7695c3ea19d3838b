//! The loops over a plane, generic over the vector type.
//!
//! Every access is inside a slice of a row, whose length is checked; what is unsafe is the instruction set alone.

use super::function::Function;
use super::plane::{Channels, Lanes, Planes, Size};
use crate::plan::layout::BLOCK;
use crate::simd::Vector;

/// Most registers that a channel block takes.
const REGISTERS: usize = 4;

/// Row `y` of a plane.
#[inline(always)]
fn row(plane: &[f32], stride: usize, y: usize, width: usize) -> *const f32 {
    plane[y * stride..][..width * BLOCK].as_ptr()
}

/// Mean of each channel of a plane, and sum of the squared distances from it.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn moments<V: Vector>(z: &[f32], stride: usize, size: Size, mean: &mut Lanes, squares: &mut Lanes) {
    let [height, width] = size;
    // SAFETY: rows of `width` pixels are inside the slice, and registers at multiples of their length inside a pixel.
    unsafe {
        let zero = [V::zero(); REGISTERS];
        let mut total = zero;
        for y in 0..height {
            let z = row(z, stride, y, width);
            let mut sums = zero;
            for x in 0..width {
                for (r, at) in (0..BLOCK).step_by(V::LANES).enumerate() {
                    sums[r] = sums[r].add(V::load(z.add(x * BLOCK + at)));
                }
            }
            for (total, sum) in total.iter_mut().zip(sums) {
                *total = total.add(sum);
            }
        }
        let share = V::splat(1.0 / (height * width) as f32);
        let centre = total.map(|total| total.mul(share));
        total = zero;
        for y in 0..height {
            let z = row(z, stride, y, width);
            let mut sums = zero;
            for x in 0..width {
                for (r, at) in (0..BLOCK).step_by(V::LANES).enumerate() {
                    let distance = V::load(z.add(x * BLOCK + at)).sub(centre[r]);
                    sums[r] = distance.mul_add(distance, sums[r]);
                }
            }
            for (total, sum) in total.iter_mut().zip(sums) {
                *total = total.add(sum);
            }
        }
        for (r, at) in (0..BLOCK).step_by(V::LANES).enumerate() {
            centre[r].store(mean.as_mut_ptr().add(at));
            total[r].store(squares.as_mut_ptr().add(at));
        }
    }
}

/// `F(scale · z + shift)`.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn activate<V: Vector, F: Function>(
    k: &Channels<'_>,
    z: &[f32],
    stride: usize,
    size: Size,
    to: &mut [f32],
    to_stride: usize,
) {
    let [height, width] = size;
    // SAFETY: as in `moments`.
    unsafe {
        for at in (0..BLOCK).step_by(V::LANES) {
            let (scale, shift) = (V::load(k.scale.as_ptr().add(at)), V::load(k.shift.as_ptr().add(at)));
            for y in 0..height {
                let z = row(z, stride, y, width).add(at);
                let to = to[y * to_stride..][..width * BLOCK].as_mut_ptr().add(at);
                for x in (0..width * BLOCK).step_by(BLOCK) {
                    F::of(V::load(z.add(x)).mul_add(scale, shift)).store(to.add(x));
                }
            }
        }
    }
}

/// Sum over a plane of `g`, the gradient before the non-linearity, and of `g · (z − mean)`, for each channel.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn gradient_sums<V: Vector, F: Function>(
    k: &Channels<'_>,
    p: &Planes<'_>,
    of_gradient: &mut Lanes,
    of_product: &mut Lanes,
) {
    let [height, width] = p.size;
    // SAFETY: as in `moments`.
    unsafe {
        for at in (0..BLOCK).step_by(V::LANES) {
            let (scale, shift) = (V::load(k.scale.as_ptr().add(at)), V::load(k.shift.as_ptr().add(at)));
            let mean = V::load(k.mean.as_ptr().add(at));
            let (mut total, mut total_product) = (V::zero(), V::zero());
            for y in 0..height {
                let z = row(p.z, p.z_row, y, width).add(at);
                let da = row(p.da, p.da_row, y, width).add(at);
                let (mut sum, mut product) = (V::zero(), V::zero());
                for x in (0..width * BLOCK).step_by(BLOCK) {
                    let z = V::load(z.add(x));
                    let g = F::pull_back(z.mul_add(scale, shift), V::load(da.add(x)));
                    sum = sum.add(g);
                    product = g.mul_add(z.sub(mean), product);
                }
                (total, total_product) = (total.add(sum), total_product.add(product));
            }
            total.store(of_gradient.as_mut_ptr().add(at));
            total_product.store(of_product.as_mut_ptr().add(at));
        }
    }
}

/// Gradient of the convolution's output: `scale · g + slope · z + offset`.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn gradient<V: Vector, F: Function>(
    k: &Channels<'_>,
    p: &Planes<'_>,
    slope: &Lanes,
    offset: &Lanes,
    to: &mut [f32],
    to_stride: usize,
) {
    let [height, width] = p.size;
    // SAFETY: as in `moments`.
    unsafe {
        for at in (0..BLOCK).step_by(V::LANES) {
            let (scale, shift) = (V::load(k.scale.as_ptr().add(at)), V::load(k.shift.as_ptr().add(at)));
            let (slope, offset) = (V::load(slope.as_ptr().add(at)), V::load(offset.as_ptr().add(at)));
            for y in 0..height {
                let z = row(p.z, p.z_row, y, width).add(at);
                let da = row(p.da, p.da_row, y, width).add(at);
                let to = to[y * to_stride..][..width * BLOCK].as_mut_ptr().add(at);
                for x in (0..width * BLOCK).step_by(BLOCK) {
                    let z = V::load(z.add(x));
                    let g = F::pull_back(z.mul_add(scale, shift), V::load(da.add(x)));
                    g.mul_add(scale, z.mul_add(slope, offset)).store(to.add(x));
                }
            }
        }
    }
}
