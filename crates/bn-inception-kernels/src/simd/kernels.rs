//! The inner loops and their instantiations for every instruction set.
//!
//! Convolutions and the classifier share one loop, [`product`]: a tile of pixels times a tile of output channels, with
//! the sums in registers over the whole depth. The list of offsets of the pixels and the stride between neighbouring
//! pixels determine the convolution.

use crate::conv::transform::{self, F2, F3, F4};
use crate::norm::{self, Channels, Function, Identity, Lanes, Planes, Relu, Sigmoid, Size};
use crate::plan::layout::{BLOCK, VECTORS};
use crate::plan::precision::Precision;
use crate::pool::{self, Shape};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Vector, prefetch};

/// Stride between two neighbouring pixels of the input of a product tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PixelStride {
    /// Stride 1 over blocked channels.
    Block = 0,
    /// Stride 2 over blocked channels.
    TwoBlocks = 1,
    /// Stride 1 over three interleaved channels.
    Rgb = 2,
    /// Stride 2 over three interleaved channels.
    TwoRgb = 3,
}

impl PixelStride {
    /// The stride in floats.
    pub(crate) const fn floats(self) -> usize {
        [BLOCK, 2 * BLOCK, 3, 6][self as usize]
    }
}

/// Prefetch distance of filters, in floats. At small batches most of a call is spent reading filters from memory in
/// order: 16 KiB hides the latency and fits into the first-level cache.
const AHEAD: usize = 4096;

/// Operands of one product tile. With `oc` the [`Kernels::oc`] of the instruction set:
/// `to[p][o] = max(floor[o], bias[o] + Σ_g Σ_d x[offsets[g] + p · stride + d] · w[g][d][o])`.
pub(crate) struct Product {
    /// First pixel of the tile.
    pub(crate) x: *const f32,
    /// Start of each group of `depth` consecutive inputs.
    pub(crate) offsets: *const usize,
    pub(crate) groups: usize,
    pub(crate) depth: usize,
    /// Weights, `[groups][depth][oc]`.
    pub(crate) w: *const f32,
    /// Bias, `[oc]`.
    pub(crate) bias: *const f32,
    /// Lower bound of the outputs, `[oc]`: 0 for a ReLU, −∞ for none.
    pub(crate) floor: *const f32,
    /// Destination of each register of output channels; null for none.
    pub(crate) to: [*mut f32; VECTORS],
    /// Stride between two pixels of the output, in floats.
    pub(crate) to_step: usize,
    /// True to add to the destination instead of overwriting it.
    pub(crate) accumulate: bool,
}

/// # Safety
/// `V`'s instruction set. Readable: `x` at every `offset + p · STEP + d` with `p < PX`, `d < depth`; weights, bias and
/// floor with the extents in [`Product`]. Writable: a register at every non-null `to + p · to_step`.
#[inline(always)]
unsafe fn product<V: Vector, const PX: usize, const STEP: usize>(tile: &Product) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        let start = [V::load(tile.bias), V::load(tile.bias.add(V::LANES))];
        let mut acc = [start; PX];
        let mut w = tile.w;
        for g in 0..tile.groups {
            let x = tile.x.add(*tile.offsets.add(g));
            for d in 0..tile.depth {
                let right = [V::load(w), V::load(w.add(V::LANES))];
                for line in (0..VECTORS * V::LANES).step_by(BLOCK) {
                    prefetch(w.wrapping_add(AHEAD + line));
                }
                w = w.add(VECTORS * V::LANES);
                for (p, row) in acc.iter_mut().enumerate() {
                    let left = V::splat(*x.add(p * STEP + d));
                    row[0] = left.mul_add(right[0], row[0]);
                    row[1] = left.mul_add(right[1], row[1]);
                }
            }
        }
        for v in 0..VECTORS {
            let to = tile.to[v];
            if !to.is_null() {
                let floor = V::load(tile.floor.add(v * V::LANES));
                for (p, row) in acc.iter().enumerate() {
                    let (y, to) = (floor.max(row[v]), to.add(p * tile.to_step));
                    let y = if tile.accumulate { V::load(to).add(y) } else { y };
                    y.store(to);
                }
            }
        }
    }
}

/// Maximum number of registers of output channels in a tile of a weight gradient.
pub(crate) const WEIGHT_VECTORS: usize = 3;

/// Operands of one tile of a weight gradient. With `rows` the [`Kernels::rows`] of the instruction set:
/// `to[i][v] = Σ_pixels x[pixel][i] · dz[v][pixel]` for `rows` consecutive channels `i` and up to three registers `v`.
pub(crate) struct WeightTile {
    /// The channels at the input pixel of the first output pixel.
    pub(crate) x: *const f32,
    /// Stride between the input pixels of two neighbouring output pixels, of two rows, of two images, in floats.
    pub(crate) x_strides: [usize; 3],
    /// First pixel of each register of output channels.
    pub(crate) dz: [*const f32; WEIGHT_VECTORS],
    /// Stride between two rows and between two images of the output, in floats.
    pub(crate) dz_strides: [usize; 2],
    /// Images, rows and pixels in a row to sum over.
    pub(crate) extent: [usize; 3],
    /// Destination of the first channel and register; further registers are side by side.
    pub(crate) to: *mut f32,
    /// Stride between two channels of the destination, in floats.
    pub(crate) to_row: usize,
    /// True to add to the destination instead of overwriting it.
    pub(crate) accumulate: bool,
}

/// # Safety
/// `V`'s instruction set. Readable: `ROWS` floats of `x` and a register of each of the first `VECS` pointers of `dz` at
/// every pixel of `extent`. Writable, and readable with `accumulate`: `VECS` registers at `to + i · to_row`, `i < ROWS`.
#[inline(always)]
unsafe fn weight_tile<V: Vector, const ROWS: usize, const VECS: usize>(tile: &WeightTile) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        let mut acc = [[V::zero(); VECS]; ROWS];
        let [images, height, width] = tile.extent;
        let [x_pixel, x_row, x_image] = tile.x_strides;
        let [dz_row, dz_image] = tile.dz_strides;
        for n in 0..images {
            for y in 0..height {
                let mut x = tile.x.add(n * x_image + y * x_row);
                let mut at = n * dz_image + y * dz_row;
                for _ in 0..width {
                    let mut right = [V::zero(); VECS];
                    for (v, right) in right.iter_mut().enumerate() {
                        *right = V::load(tile.dz[v].add(at));
                    }
                    for (i, row) in acc.iter_mut().enumerate() {
                        let left = V::splat(*x.add(i));
                        for (sum, right) in row.iter_mut().zip(right) {
                            *sum = left.mul_add(right, *sum);
                        }
                    }
                    // Not `add`: after the last pixel there may be none.
                    x = x.wrapping_add(x_pixel);
                    at += BLOCK;
                }
            }
        }
        for (i, row) in acc.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                let to = tile.to.add(i * tile.to_row + v * V::LANES);
                let sum = if tile.accumulate { V::load(to).add(sum) } else { sum };
                sum.store(to);
            }
        }
    }
}

/// Operands of one row of a 3×3 pooling over one channel block.
pub(crate) struct PoolRow {
    /// First pixel of the first window.
    pub(crate) x: *const f32,
    /// Stride between two rows of `x`, in floats.
    pub(crate) row: usize,
    /// Number of windows.
    pub(crate) width: usize,
    /// Stride of the windows, 1 or 2.
    pub(crate) stride: usize,
    /// Destination, `[width][BLOCK]`.
    pub(crate) to: *mut f32,
}

/// Max pool.
///
/// # Safety
/// `V`'s instruction set; all windows readable, `to` writable.
#[inline(always)]
unsafe fn max_row<V: Vector>(job: &PoolRow) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        for at in (0..BLOCK).step_by(V::LANES) {
            let column = |x: usize| {
                let x = job.x.add(x * BLOCK + at);
                let top = V::load(x).max(V::load(x.add(job.row)));
                top.max(V::load(x.add(2 * job.row)))
            };
            let mut left = column(0);
            if job.stride == 1 {
                let mut middle = column(1);
                for x in 0..job.width {
                    let right = column(x + 2);
                    left.max(middle).max(right).store(job.to.add(x * BLOCK + at));
                    (left, middle) = (middle, right);
                }
            } else {
                for x in 0..job.width {
                    let right = column(2 * x + 2);
                    let most = left.max(column(2 * x + 1)).max(right);
                    most.store(job.to.add(x * BLOCK + at));
                    left = right;
                }
            }
        }
    }
}

/// Average pool of stride 1, plus bias, at least `floor`. `scale` is the reciprocal of the divisor of each window.
///
/// # Safety
/// `V`'s instruction set; all windows, `scale[width]` and `bias[BLOCK]` and `floor[BLOCK]` readable, `to` writable.
#[inline(always)]
unsafe fn average_row<V: Vector>(job: &PoolRow, scale: *const f32, bias: *const f32, floor: *const f32) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        for at in (0..BLOCK).step_by(V::LANES) {
            let (bias, floor) = (V::load(bias.add(at)), V::load(floor.add(at)));
            let column = |x: usize| {
                let x = job.x.add(x * BLOCK + at);
                let top = V::load(x).add(V::load(x.add(job.row)));
                top.add(V::load(x.add(2 * job.row)))
            };
            let (mut left, mut middle) = (column(0), column(1));
            for x in 0..job.width {
                let right = column(x + 2);
                let sum = left.add(middle).add(right);
                let mean = sum.mul_add(V::splat(*scale.add(x)), bias);
                floor.max(mean).store(job.to.add(x * BLOCK + at));
                (left, middle) = (middle, right);
            }
        }
    }
}

/// Mean of `height` rows of `width` pixels of one channel block.
///
/// # Safety
/// `V`'s instruction set; the pixels readable, `to[BLOCK]` writable.
#[inline(always)]
unsafe fn mean<V: Vector>(x: *const f32, row: usize, height: usize, width: usize, to: *mut f32) {
    // SAFETY: every access is one of those in the contract.
    unsafe {
        let scale = V::splat(1.0 / (height * width) as f32);
        for at in (0..BLOCK).step_by(V::LANES) {
            let mut sum = V::zero();
            for y in 0..height {
                for p in 0..width {
                    sum = sum.add(V::load(x.add(y * row + p * BLOCK + at)));
                }
            }
            sum.mul(scale).store(to.add(at));
        }
    }
}

/// `12 · rounds` multiply-adds of whole registers without memory access: the processor's peak.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
unsafe fn multiply_adds<V: Vector>(rounds: usize) -> f32 {
    // SAFETY: registers only, and loads and stores of an array of at least one register.
    unsafe {
        let mut acc = [V::zero(); 12];
        let (a, b) = (V::splat(0.999), V::splat(0.001));
        for _ in 0..rounds {
            for x in &mut acc {
                *x = x.mul_add(a, b);
            }
        }
        let mut out = [0.0; BLOCK];
        for x in acc {
            x.add(V::load(out.as_ptr())).store(out.as_mut_ptr());
        }
        out[0]
    }
}

/// Loops of normalisation with one non-linearity.
pub(crate) struct NormLoops {
    pub(crate) activate: unsafe fn(&Channels<'_>, &[f32], usize, Size, &mut [f32], usize),
    pub(crate) gradient_sums: unsafe fn(&Channels<'_>, &Planes<'_>, &mut Lanes, &mut Lanes),
    pub(crate) gradient: unsafe fn(&Channels<'_>, &Planes<'_>, &Lanes, &Lanes, &mut [f32], usize),
}

/// Loops of training's pools.
pub(crate) struct PoolLoops {
    pub(crate) max: unsafe fn(&Shape, &[f32], &mut [f32]),
    pub(crate) max_backward: unsafe fn(&Shape, &[f32], &[f32], &mut [f32]),
    pub(crate) average: unsafe fn(&Shape, &[f32], &[f32], &mut [f32]),
    pub(crate) average_backward: unsafe fn(&Shape, &[f32], &[f32], &mut [f32]),
}

type ProductFn = unsafe fn(&Product);
type WeightTileFn = unsafe fn(&WeightTile);

/// The loops of one instruction set for one precision.
pub(crate) struct Kernels {
    /// Name of the instruction set.
    pub(crate) name: &'static str,
    pub(crate) precision: Precision,
    /// Number of output channels of a product tile: a multiple of half a [`BLOCK`].
    pub(crate) oc: usize,
    /// Number of floats in a register.
    pub(crate) lanes: usize,
    /// `product[pixels - 1][pixel_stride]`.
    pub(crate) product: &'static [[ProductFn; 4]],
    /// Number of input channels of a tile of a weight gradient, a divisor of [`BLOCK`].
    pub(crate) rows: usize,
    /// `weight_tile[registers - 1]`.
    pub(crate) weight_tile: [WeightTileFn; WEIGHT_VECTORS],
    pub(crate) max_row: unsafe fn(&PoolRow),
    pub(crate) average_row: unsafe fn(&PoolRow, *const f32, *const f32, *const f32),
    pub(crate) mean: unsafe fn(*const f32, usize, usize, usize, *mut f32),
    /// Input transforms of F(2×2, 3×3), F(4×4, 3×3) and F(3×3, 4×4).
    pub(crate) winograd_input: [unsafe fn(*const f32, usize, *mut f32, usize); 3],
    /// Output transforms of the same algorithms.
    pub(crate) winograd_output: [unsafe fn(&transform::Output); 3],
    /// Filter transforms of F(2×2, 3×3), F(4×4, 3×3) and F(3×3, 4×4).
    pub(crate) winograd_filter: [unsafe fn(*const f32, *mut f32, usize); 3],
    /// Transform of a 4×4 tile of gradients as a filter of F(3×3, 4×4).
    pub(crate) winograd_gradient: unsafe fn(*const f32, usize, *mut f32, usize),
    pub(crate) moments: unsafe fn(&[f32], usize, Size, &mut Lanes, &mut Lanes),
    /// In the order of [`Activation`](crate::norm::Activation).
    pub(crate) norm: [NormLoops; 3],
    pub(crate) pool: PoolLoops,
    multiply_adds: unsafe fn(usize) -> f32,
    available: fn() -> bool,
}

impl Kernels {
    /// Number of pixels of a full product tile.
    pub(crate) fn pixels(&self) -> usize {
        self.product.len()
    }

    /// Multiply-adds per second of one thread without memory access, the best of a few short loops.
    pub(crate) fn peak(&self) -> f64 {
        const ROUNDS: usize = 200_000;
        let once = || {
            let start = std::time::Instant::now();
            // SAFETY: a `Kernels` is only reachable through `available`.
            std::hint::black_box(unsafe { (self.multiply_adds)(ROUNDS) });
            (12 * ROUNDS * self.lanes) as f64 / start.elapsed().as_secs_f64()
        };
        (0..50).map(|_| once()).fold(0.0, f64::max)
    }

    /// All loops this processor can run, best first.
    pub(crate) fn available() -> impl Iterator<Item = &'static Self> {
        ALL.iter().copied().filter(|k| (k.available)())
    }
}

/// Instantiations of every loop for one instruction set.
macro_rules! kernels {
    ($name:ident, $module:ident, $vector:ty, pixels $($px:literal)+, rows $rows:literal, $available:expr $(, #[$feature:meta])?) => {
        mod $module {
            use super::*;
            /// Number of output channels of a product tile.
            const OC: usize = VECTORS * <$vector>::LANES;

            // SAFETY (every function below): the caller keeps the contract of the generic loop.

            $(#[$feature])?
            unsafe fn product<const PX: usize, const STEP: usize>(tile: &Product) {
                // SAFETY: see the module.
                unsafe { super::product::<$vector, PX, STEP>(tile) }
            }
            $(#[$feature])?
            unsafe fn weight_tile<const VECS: usize>(tile: &WeightTile) {
                // SAFETY: see the module.
                unsafe { super::weight_tile::<$vector, $rows, VECS>(tile) }
            }
            $(#[$feature])?
            unsafe fn max_row(job: &PoolRow) {
                // SAFETY: see the module.
                unsafe { super::max_row::<$vector>(job) }
            }
            $(#[$feature])?
            unsafe fn average_row(job: &PoolRow, scale: *const f32, bias: *const f32, floor: *const f32) {
                // SAFETY: see the module.
                unsafe { super::average_row::<$vector>(job, scale, bias, floor) }
            }
            $(#[$feature])?
            unsafe fn mean(x: *const f32, row: usize, height: usize, width: usize, to: *mut f32) {
                // SAFETY: see the module.
                unsafe { super::mean::<$vector>(x, row, height, width, to) }
            }
            $(#[$feature])?
            unsafe fn multiply_adds(rounds: usize) -> f32 {
                // SAFETY: see the module.
                unsafe { super::multiply_adds::<$vector>(rounds) }
            }
            $(#[$feature])?
            unsafe fn input2(x: *const f32, row: usize, to: *mut f32, stride: usize) {
                // SAFETY: see the module.
                unsafe { transform::input::<$vector, F2, 2, 4, 3>(x, row, to, stride) }
            }
            $(#[$feature])?
            unsafe fn input4(x: *const f32, row: usize, to: *mut f32, stride: usize) {
                // SAFETY: see the module.
                unsafe { transform::input::<$vector, F4, 4, 6, 3>(x, row, to, stride) }
            }
            $(#[$feature])?
            unsafe fn output2(job: &transform::Output) {
                // SAFETY: see the module.
                unsafe { transform::output::<$vector, F2, 2, 4, 3>(job) }
            }
            $(#[$feature])?
            unsafe fn output4(job: &transform::Output) {
                // SAFETY: see the module.
                unsafe { transform::output::<$vector, F4, 4, 6, 3>(job) }
            }

            $(#[$feature])?
            unsafe fn output3(job: &transform::Output) {
                // SAFETY: see the module.
                unsafe { transform::output::<$vector, F3, 3, 6, 4>(job) }
            }

            $(#[$feature])?
            unsafe fn filter2(g: *const f32, to: *mut f32, stride: usize) {
                // SAFETY: see the module.
                unsafe { transform::filters::<$vector, F2, 2, 4, 3>(g, 3 * OC, OC, to, stride) }
            }
            $(#[$feature])?
            unsafe fn filter4(g: *const f32, to: *mut f32, stride: usize) {
                // SAFETY: see the module.
                unsafe { transform::filters::<$vector, F4, 4, 6, 3>(g, 3 * OC, OC, to, stride) }
            }
            $(#[$feature])?
            unsafe fn filter3(g: *const f32, to: *mut f32, stride: usize) {
                // SAFETY: see the module.
                unsafe { transform::filters::<$vector, F3, 3, 6, 4>(g, 4 * OC, OC, to, stride) }
            }

            $(#[$feature])?
            unsafe fn gradient4(x: *const f32, row: usize, to: *mut f32, stride: usize) {
                // SAFETY: see the module.
                unsafe { transform::filters::<$vector, F3, 3, 6, 4>(x, row, BLOCK, to, stride) }
            }
            $(#[$feature])?
            unsafe fn moments(z: &[f32], row: usize, size: Size, mean: &mut Lanes, squares: &mut Lanes) {
                // SAFETY: see the module.
                unsafe { norm::loops::moments::<$vector>(z, row, size, mean, squares) }
            }
            $(#[$feature])?
            unsafe fn activate<F: Function>(
                k: &Channels<'_>,
                z: &[f32],
                row: usize,
                size: Size,
                to: &mut [f32],
                to_row: usize,
            ) {
                // SAFETY: see the module.
                unsafe { norm::loops::activate::<$vector, F>(k, z, row, size, to, to_row) }
            }
            $(#[$feature])?
            unsafe fn gradient_sums<F: Function>(k: &Channels<'_>, p: &Planes<'_>, sum: &mut Lanes, product: &mut Lanes) {
                // SAFETY: see the module.
                unsafe { norm::loops::gradient_sums::<$vector, F>(k, p, sum, product) }
            }
            $(#[$feature])?
            unsafe fn gradient<F: Function>(
                k: &Channels<'_>,
                p: &Planes<'_>,
                slope: &Lanes,
                offset: &Lanes,
                to: &mut [f32],
                to_row: usize,
            ) {
                // SAFETY: see the module.
                unsafe { norm::loops::gradient::<$vector, F>(k, p, slope, offset, to, to_row) }
            }
            $(#[$feature])?
            unsafe fn max(shape: &Shape, x: &[f32], to: &mut [f32]) {
                // SAFETY: see the module.
                unsafe { pool::max::<$vector>(shape, x, to) }
            }
            $(#[$feature])?
            unsafe fn max_backward(shape: &Shape, x: &[f32], dy: &[f32], dx: &mut [f32]) {
                // SAFETY: see the module.
                unsafe { pool::max_backward::<$vector>(shape, x, dy, dx) }
            }
            $(#[$feature])?
            unsafe fn average(shape: &Shape, scale: &[f32], x: &[f32], to: &mut [f32]) {
                // SAFETY: see the module.
                unsafe { pool::average::<$vector>(shape, scale, x, to) }
            }
            $(#[$feature])?
            unsafe fn average_backward(shape: &Shape, scale: &[f32], dy: &[f32], dx: &mut [f32]) {
                // SAFETY: see the module.
                unsafe { pool::average_backward::<$vector>(shape, scale, dy, dx) }
            }

            const fn norm_loops<F: Function>() -> NormLoops {
                NormLoops { activate: activate::<F>, gradient_sums: gradient_sums::<F>, gradient: gradient::<F> }
            }

            pub(crate) static KERNELS: Kernels = Kernels {
                name: stringify!($module),
                precision: Precision::F32,
                oc: OC,
                lanes: <$vector>::LANES,
                product: &[$([product::<$px, 16>, product::<$px, 32>, product::<$px, 3>, product::<$px, 6>],)+],
                rows: $rows,
                weight_tile: [weight_tile::<1>, weight_tile::<2>, weight_tile::<3>],
                max_row,
                average_row,
                mean,
                winograd_input: [input2, input4, input4],
                winograd_output: [output2, output4, output3],
                winograd_filter: [filter2, filter4, filter3],
                winograd_gradient: gradient4,
                moments,
                norm: [norm_loops::<Relu>(), norm_loops::<Sigmoid>(), norm_loops::<Identity>()],
                pool: PoolLoops { max, max_backward, average, average_backward },
                multiply_adds,
                available: $available,
            };
        }
        use $module::KERNELS as $name;
    };
}

#[cfg(target_arch = "x86_64")]
kernels!(
    AVX512, avx512, Avx512, pixels 1 2 3 4 5 6 7 8 9 10 11 12 13 14, rows 8,
    || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    #[target_feature(enable = "avx512f,avx2,fma")]
);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX2, avx2, Avx2, pixels 1 2 3 4 5 6, rows 4,
    || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    #[target_feature(enable = "avx2,fma")]
);
#[cfg(target_arch = "aarch64")]
kernels!(
    NEON, neon, Neon, pixels 1 2 3 4 5 6 7 8 9 10 11 12 13 14, rows 8,
    || std::arch::is_aarch64_feature_detected!("neon"),
    #[target_feature(enable = "neon")]
);
kernels!(PORTABLE, portable, Portable, pixels 1 2, rows 4, || true);

static ALL: &[&Kernels] = &[
    #[cfg(target_arch = "x86_64")]
    &AVX512,
    #[cfg(target_arch = "x86_64")]
    &AVX2,
    #[cfg(target_arch = "aarch64")]
    &NEON,
    &PORTABLE,
];
