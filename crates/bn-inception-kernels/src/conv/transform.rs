//! Transforms of filters, inputs and outputs of Winograd's minimal filtering: F(2×2, 3×3), F(4×4, 3×3) and F(3×3, 4×4).
//!
//! `y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A` (Lavin & Gray 2015). The interpolation points of the latter two are 0, ±1/√2, ±√2, ∞,
//! with a quarter of the rounding error of 0, ±1, ±2, ∞. F(2×2) uses 0, ±1, ∞, which is more accurate than direct sums.
//! An infinite or NaN pixel makes all outputs of the tiles that read it NaN, not only those whose window contains it.

use crate::plan::layout::{BLOCK, VECTORS};
use crate::simd::Vector;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// One-dimensional transforms of a scheme with `M` outputs from `A = M + R - 1` inputs and a filter of `R` taps.
pub(crate) trait Scheme<const M: usize, const A: usize, const R: usize> {
    /// `G g`.
    fn filter(g: [f64; R]) -> [f64; A];
    /// `G g` of several filters, one a lane.
    ///
    /// # Safety
    /// `V`'s instruction set.
    unsafe fn filters<V: Vector>(g: [V; R]) -> [V; A];
    /// `Bᵀ d`.
    ///
    /// # Safety
    /// `V`'s instruction set.
    unsafe fn input<V: Vector>(d: [V; A]) -> [V; A];
    /// `Aᵀ m`.
    ///
    /// # Safety
    /// `V`'s instruction set.
    unsafe fn output<V: Vector>(m: [V; A]) -> [V; M];
}

/// F(2, 3) with the points 0, 1, −1, ∞.
pub(crate) struct F2;

impl Scheme<2, 4, 3> for F2 {
    fn filter([a, b, c]: [f64; 3]) -> [f64; 4] {
        [-a, (a + b + c) / 2.0, (a - b + c) / 2.0, c]
    }

    #[inline(always)]
    unsafe fn filters<V: Vector>([a, b, c]: [V; 3]) -> [V; 4] {
        // SAFETY: by the contract of the trait.
        unsafe {
            let (half, even) = (V::splat(0.5), a.add(c));
            [V::zero().sub(a), even.add(b).mul(half), even.sub(b).mul(half), c]
        }
    }

    #[inline(always)]
    unsafe fn input<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
        // SAFETY: by the contract of the trait.
        unsafe { [c.sub(a), b.add(c), c.sub(b), d.sub(b)] }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
        // SAFETY: by the contract of the trait.
        unsafe { [a.add(b).add(c), b.sub(c).add(d)] }
    }
}

/// F(4, 3) with the points 0, 1/√2, −1/√2, √2, −√2, ∞.
pub(crate) struct F4;

impl Scheme<4, 6, 3> for F4 {
    fn filter([a, b, c]: [f64; 3]) -> [f64; 6] {
        // The denominators are the derivative of x(x² − ½)(x² − 2) at the point.
        let at = |p: f64, n: f64| (a + p * b + p * p * c) / n;
        [a, at(FRAC_1_SQRT_2, -1.5), at(-FRAC_1_SQRT_2, -1.5), at(SQRT_2, 6.0), at(-SQRT_2, 6.0), c]
    }

    #[inline(always)]
    unsafe fn filters<V: Vector>([a, b, c]: [V; 3]) -> [V; 6] {
        // SAFETY: by the contract of the trait.
        unsafe {
            let by = |x: V, factor: f64| x.mul(V::splat(factor as f32));
            // The filter's polynomial at ±p, over the derivative there: even and odd part.
            let (even1, odd1) = (by(c.mul_add(V::splat(0.5), a), -1.0 / 1.5), by(b, -FRAC_1_SQRT_2 / 1.5));
            let (even2, odd2) = (by(c.mul_add(V::splat(2.0), a), 1.0 / 6.0), by(b, SQRT_2 / 6.0));
            [a, even1.add(odd1), even1.sub(odd1), even2.add(odd2), even2.sub(odd2), c]
        }
    }

    #[inline(always)]
    unsafe fn input<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 6] {
        // SAFETY: by the contract of the trait.
        unsafe {
            let minus = |x: f64| V::splat(-x as f32);
            // Even and odd part of the polynomial at each pair of opposite points.
            let even1 = c.mul_add(minus(2.0), e);
            let odd1 = b.mul_add(minus(2.0), d).mul(V::splat(FRAC_1_SQRT_2 as f32));
            let even2 = c.mul_add(minus(0.5), e);
            let odd2 = b.mul_add(minus(0.5), d).mul(V::splat(SQRT_2 as f32));
            [
                c.mul_add(minus(2.5), a.add(e)),
                even1.add(odd1),
                even1.sub(odd1),
                even2.add(odd2),
                even2.sub(odd2),
                d.mul_add(minus(2.5), b.add(f)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 4] {
        // SAFETY: by the contract of the trait.
        unsafe {
            let (sum1, difference1) = (b.add(c), b.sub(c).mul(V::splat(FRAC_1_SQRT_2 as f32)));
            let (sum2, difference2) = (d.add(e), d.sub(e).mul(V::splat(SQRT_2 as f32)));
            let (half, two) = (V::splat(0.5), V::splat(2.0));
            [
                a.add(sum1).add(sum2),
                difference1.add(difference2),
                sum1.mul_add(half, sum2.mul(two)),
                difference1.mul_add(half, difference2.mul_add(two, f)),
            ]
        }
    }
}

/// F(3, 4) with the points of [`F4`]: one output less and one tap more.
pub(crate) struct F3;

impl Scheme<3, 6, 4> for F3 {
    fn filter([a, b, c, d]: [f64; 4]) -> [f64; 6] {
        let at = |p: f64, n: f64| (a + p * b + p * p * c + p * p * p * d) / n;
        [a, at(FRAC_1_SQRT_2, -1.5), at(-FRAC_1_SQRT_2, -1.5), at(SQRT_2, 6.0), at(-SQRT_2, 6.0), d]
    }

    #[inline(always)]
    unsafe fn filters<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 6] {
        // SAFETY: by the contract of the trait.
        unsafe {
            let by = |x: V, factor: f64| x.mul(V::splat(factor as f32));
            let (even1, odd1) =
                (by(c.mul_add(V::splat(0.5), a), -1.0 / 1.5), by(d.mul_add(V::splat(0.5), b), -FRAC_1_SQRT_2 / 1.5));
            let (even2, odd2) =
                (by(c.mul_add(V::splat(2.0), a), 1.0 / 6.0), by(d.mul_add(V::splat(2.0), b), SQRT_2 / 6.0));
            [a, even1.add(odd1), even1.sub(odd1), even2.add(odd2), even2.sub(odd2), d]
        }
    }

    #[inline(always)]
    unsafe fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        // SAFETY: by the contract of the trait.
        unsafe { F4::input(d) }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 3] {
        // SAFETY: by the contract of the trait.
        unsafe {
            let (sum1, difference1) = (b.add(c), b.sub(c).mul(V::splat(FRAC_1_SQRT_2 as f32)));
            let (sum2, difference2) = (d.add(e), d.sub(e).mul(V::splat(SQRT_2 as f32)));
            [
                a.add(sum1).add(sum2),
                difference1.add(difference2),
                sum1.mul_add(V::splat(0.5), sum2.mul_add(V::splat(2.0), f)),
            ]
        }
    }
}

/// `G g Gᵀ`, row-major `A × A`, of a filter with rows `g`.
pub(crate) fn filter<S: Scheme<M, A, R>, const M: usize, const A: usize, const R: usize>(
    g: [[f64; R]; R],
) -> [[f64; A]; A] {
    let columns: [[f64; A]; R] = std::array::from_fn(|x| S::filter(std::array::from_fn(|y| g[y][x])));
    std::array::from_fn(|y| S::filter(std::array::from_fn(|x| columns[x][y])))
}

/// `G g Gᵀ` of `R × R` filters side by side in `lanes` floats: those of a product tile, or the pixels of one channel block.
/// Position `i` of the result goes to `to + i · stride`.
///
/// # Safety
/// `V`'s instruction set; the taps, with `row` floats between rows and `lanes` between columns, readable; `lanes` floats,
/// whole registers, at each of the `A · A` positions writable.
#[inline(always)]
pub(crate) unsafe fn filters<V: Vector, S: Scheme<M, A, R>, const M: usize, const A: usize, const R: usize>(
    g: *const f32,
    row: usize,
    lanes: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        for at in (0..lanes).step_by(V::LANES) {
            let mut half = [[V::zero(); R]; A];
            for j in 0..R {
                let mut column = [V::zero(); R];
                for (i, column) in column.iter_mut().enumerate() {
                    *column = V::load(g.add(i * row + j * lanes + at));
                }
                for (row, column) in half.iter_mut().zip(S::filters(column)) {
                    row[j] = column;
                }
            }
            for (i, row) in half.into_iter().enumerate() {
                for (j, u) in S::filters(row).into_iter().enumerate() {
                    u.store(to.add((i * A + j) * stride + at));
                }
            }
        }
    }
}

/// `Bᵀ d B` of an `A × A` patch of one channel block. Position `i` of the result goes to `to + i · stride`.
///
/// # Safety
/// `V`'s instruction set; the patch, with `row` floats between rows, readable; `BLOCK` floats at each position
/// writable.
#[inline(always)]
pub(crate) unsafe fn input<V: Vector, S: Scheme<M, A, R>, const M: usize, const A: usize, const R: usize>(
    x: *const f32,
    row: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        for at in (0..BLOCK).step_by(V::LANES) {
            let mut half = [[V::zero(); A]; A];
            for j in 0..A {
                let mut d = [V::zero(); A];
                for (i, d) in d.iter_mut().enumerate() {
                    *d = V::load(x.add(i * row + j * BLOCK + at));
                }
                for (row, d) in half.iter_mut().zip(S::input(d)) {
                    row[j] = d;
                }
            }
            for (i, d) in half.into_iter().enumerate() {
                for (j, d) in S::input(d).into_iter().enumerate() {
                    d.store(to.add((i * A + j) * stride + at));
                }
            }
        }
    }
}

/// Operands of the output transform of one image tile for the output channels of a product tile.
pub(crate) struct Output {
    /// Products of the tile; position `i` is at `m + i · stride`.
    pub(crate) m: *const f32,
    pub(crate) stride: usize,
    /// Bias, one value per output channel.
    pub(crate) bias: *const f32,
    /// Lower bound of the outputs, one value per output channel.
    pub(crate) floor: *const f32,
    /// First pixel of the tile for each register of output channels; null for none.
    pub(crate) to: [*mut f32; VECTORS],
    /// Stride between two rows of each output, in floats.
    pub(crate) row: [usize; VECTORS],
    /// Number of rows and columns of the tile inside the map.
    pub(crate) size: [usize; 2],
    /// True to add to the destination instead of overwriting it.
    pub(crate) accumulate: bool,
}

/// `max(floor, Aᵀ m A + bias)`.
///
/// # Safety
/// `V`'s instruction set; products, bias and floor readable; at each non-null `to` a register in every pixel of `size`
/// (at most `M × M`) writable.
#[inline(always)]
pub(crate) unsafe fn output<V: Vector, S: Scheme<M, A, R>, const M: usize, const A: usize, const R: usize>(
    job: &Output,
) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        for v in 0..VECTORS {
            let to = job.to[v];
            if to.is_null() {
                continue;
            }
            let at = v * V::LANES;
            let (bias, floor) = (V::load(job.bias.add(at)), V::load(job.floor.add(at)));
            let mut half = [[V::zero(); A]; M];
            for j in 0..A {
                let mut m = [V::zero(); A];
                for (i, m) in m.iter_mut().enumerate() {
                    *m = V::load(job.m.add((i * A + j) * job.stride + at));
                }
                for (row, m) in half.iter_mut().zip(S::output(m)) {
                    row[j] = m;
                }
            }
            for (i, m) in half.into_iter().enumerate().take(job.size[0]) {
                for (j, y) in S::output(m).into_iter().enumerate() {
                    if j < job.size[1] {
                        let (y, to) = (floor.max(y.add(bias)), to.add(i * job.row[v] + j * BLOCK));
                        let y = if job.accumulate { V::load(to).add(y) } else { y };
                        y.store(to);
                    }
                }
            }
        }
    }
}
