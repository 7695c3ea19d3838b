//! The inner loops and their instantiation for every instruction set.
//!
//! All arithmetic of convolutions and of the classifier is one loop, [`product`]: a tile of pixels times a tile of output
//! channels, the sums in registers over the whole depth. Which convolution it is lies in the list of offsets it
//! reads its pixels at and in the distance between neighbouring pixels.

use super::winograd::{self, F2, F3, F4};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Vector, prefetch};

/// Channels that lie side by side in every tensor of the engine, whatever the instruction set.
pub(super) const BLOCK: usize = 16;
/// Registers of output channels in a product tile.
pub(super) const VECTORS: usize = 2;

/// Floats between two neighbouring pixels of a product tile's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Stride 1 over blocked channels.
    Block = 0,
    /// Stride 2 over blocked channels.
    TwoBlocks = 1,
    /// Stride 1 over three interleaved channels.
    Rgb = 2,
    /// Stride 2 over three interleaved channels.
    TwoRgb = 3,
}

impl Step {
    pub(super) const fn floats(self) -> usize {
        [BLOCK, 2 * BLOCK, 3, 6][self as usize]
    }
}

/// How far ahead of their use filters are fetched, in floats. At small batches most of a call is the reading of filters
/// that lie in memory, in order: 16 KiB is far enough to hide its latency and little enough for the first-level cache.
const AHEAD: usize = 4096;

/// One product tile. With `oc` = the instruction set's [`Kernels::oc`]:
/// `to[p][o] = max(floor[o], bias[o] + Σ_g Σ_d x[offsets[g] + p · step + d] · w[g][d][o])`.
pub(super) struct Product {
    /// First pixel of the tile.
    pub(super) x: *const f32,
    /// Where each group of `depth` consecutive inputs starts.
    pub(super) offsets: *const usize,
    pub(super) groups: usize,
    pub(super) depth: usize,
    /// `[groups][depth][oc]`.
    pub(super) w: *const f32,
    /// `[oc]`.
    pub(super) bias: *const f32,
    /// `[oc]`.
    pub(super) floor: *const f32,
    /// Where each register of output channels goes; null for nowhere.
    pub(super) to: [*mut f32; VECTORS],
    /// Floats between two pixels of the output.
    pub(super) to_step: usize,
}

/// # Safety
/// `V`'s instruction set. Readable: `x` at every `offset + p · STEP + d` with `p < PX`, `d < depth`; the weights, bias
/// and floor of the struct's documentation. Writable: a register at every non-null `to + p · to_step`.
#[inline(always)]
unsafe fn product<V: Vector, const PX: usize, const STEP: usize>(tile: &Product) {
    // SAFETY: every access is one the contract lists.
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
                    floor.max(row[v]).store(to.add(p * tile.to_step));
                }
            }
        }
    }
}

/// One row of a 3×3 pooling over one channel block.
pub(super) struct PoolRow {
    /// The first window's first pixel.
    pub(super) x: *const f32,
    /// Floats between two rows of `x`.
    pub(super) row: usize,
    /// Windows.
    pub(super) width: usize,
    /// 1 or 2.
    pub(super) stride: usize,
    /// `[width][BLOCK]`.
    pub(super) to: *mut f32,
}

/// # Safety
/// `V`'s instruction set; all windows readable, `to` writable.
#[inline(always)]
unsafe fn max_row<V: Vector>(job: &PoolRow) {
    // SAFETY: every access is one the contract lists.
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
                    left.max(middle)
                        .max(right)
                        .store(job.to.add(x * BLOCK + at));
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

/// Average pool of stride 1, plus bias, at least `floor`. `scale` is one over the divisor for each window.
///
/// # Safety
/// `V`'s instruction set; all windows, `scale[width]` and `bias[BLOCK]` and `floor[BLOCK]` readable, `to` writable.
#[inline(always)]
unsafe fn average_row<V: Vector>(
    job: &PoolRow,
    scale: *const f32,
    bias: *const f32,
    floor: *const f32,
) {
    // SAFETY: every access is one the contract lists.
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
    // SAFETY: every access is one the contract lists.
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

/// `12 · rounds` multiply-adds of whole registers on registers alone: the most the processor can do.
///
/// # Safety
/// `V`'s instruction set.
#[inline(always)]
unsafe fn multiply_adds<V: Vector>(rounds: usize) -> f32 {
    // SAFETY: registers only, and a store to an array that holds one.
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

type ProductFn = unsafe fn(&Product);

/// The loops of one instruction set.
pub(super) struct Kernels {
    /// Name for reports and for choosing it.
    pub(super) name: &'static str,
    /// Output channels of a product tile: a multiple of half a [`BLOCK`].
    pub(super) oc: usize,
    /// Floats in a register.
    pub(super) lanes: usize,
    /// `product[pixels - 1][step]`.
    pub(super) product: &'static [[ProductFn; 4]],
    pub(super) max_row: unsafe fn(&PoolRow),
    pub(super) average_row: unsafe fn(&PoolRow, *const f32, *const f32, *const f32),
    pub(super) mean: unsafe fn(*const f32, usize, usize, usize, *mut f32),
    /// Input transforms of F(2×2, 3×3), F(4×4, 3×3) and F(3×3, 4×4).
    pub(super) wino_input: [unsafe fn(*const f32, usize, *mut f32, usize); 3],
    /// Output transforms of the same.
    pub(super) wino_output: [unsafe fn(&winograd::Output); 3],
    multiply_adds: unsafe fn(usize) -> f32,
    available: fn() -> bool,
}

impl Kernels {
    /// Pixels of a full product tile.
    pub(super) fn pixels(&self) -> usize {
        self.product.len()
    }

    /// Multiply-adds per second of one thread on registers alone, the best of a few short loops.
    pub(super) fn peak(&self) -> f64 {
        const ROUNDS: usize = 200_000;
        let once = || {
            let start = std::time::Instant::now();
            // SAFETY: a `Kernels` is only reachable through `available`.
            std::hint::black_box(unsafe { (self.multiply_adds)(ROUNDS) });
            (12 * ROUNDS * self.lanes) as f64 / start.elapsed().as_secs_f64()
        };
        (0..50).map(|_| once()).fold(0.0, f64::max)
    }

    /// Every instruction set this processor can run, best first.
    pub(super) fn available() -> impl Iterator<Item = &'static Self> {
        ALL.iter().copied().filter(|k| (k.available)())
    }
}

/// Instantiates every loop for one instruction set.
macro_rules! kernels {
    ($name:ident, $module:ident, $vector:ty, pixels $($px:literal)+, $available:expr $(, #[$feature:meta])?) => {
        mod $module {
            use super::*;
            // SAFETY (every function below): the contract of the generic loop is the caller's to keep.

            $(#[$feature])?
            unsafe fn product<const PX: usize, const STEP: usize>(tile: &Product) {
                // SAFETY: see the module.
                unsafe { super::product::<$vector, PX, STEP>(tile) }
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
                unsafe { winograd::input::<$vector, F2, 2, 4, 3>(x, row, to, stride) }
            }
            $(#[$feature])?
            unsafe fn input4(x: *const f32, row: usize, to: *mut f32, stride: usize) {
                // SAFETY: see the module.
                unsafe { winograd::input::<$vector, F4, 4, 6, 3>(x, row, to, stride) }
            }
            $(#[$feature])?
            unsafe fn output2(job: &winograd::Output) {
                // SAFETY: see the module.
                unsafe { winograd::output::<$vector, F2, 2, 4, 3>(job) }
            }
            $(#[$feature])?
            unsafe fn output4(job: &winograd::Output) {
                // SAFETY: see the module.
                unsafe { winograd::output::<$vector, F4, 4, 6, 3>(job) }
            }

            $(#[$feature])?
            unsafe fn output3(job: &winograd::Output) {
                // SAFETY: see the module.
                unsafe { winograd::output::<$vector, F3, 3, 6, 4>(job) }
            }

            pub(super) static KERNELS: Kernels = Kernels {
                name: stringify!($module),
                oc: VECTORS * <$vector>::LANES,
                lanes: <$vector>::LANES,
                product: &[$([product::<$px, 16>, product::<$px, 32>, product::<$px, 3>, product::<$px, 6>],)+],
                max_row,
                average_row,
                mean,
                wino_input: [input2, input4, input4],
                wino_output: [output2, output4, output3],
                multiply_adds,
                available: $available,
            };
        }
        use $module::KERNELS as $name;
    };
}

#[cfg(target_arch = "x86_64")]
kernels!(
    AVX512, avx512, Avx512, pixels 1 2 3 4 5 6 7 8 9 10 11 12 13 14,
    || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    #[target_feature(enable = "avx512f,avx2,fma")]
);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX2, avx2, Avx2, pixels 1 2 3 4 5 6,
    || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    #[target_feature(enable = "avx2,fma")]
);
#[cfg(target_arch = "aarch64")]
kernels!(
    NEON, neon, Neon, pixels 1 2 3 4 5 6 7 8 9 10 11 12 13 14,
    || std::arch::is_aarch64_feature_detected!("neon"),
    #[target_feature(enable = "neon")]
);
kernels!(PORTABLE, portable, Portable, pixels 1 2, || true);

static ALL: &[&Kernels] = &[
    #[cfg(target_arch = "x86_64")]
    &AVX512,
    #[cfg(target_arch = "x86_64")]
    &AVX2,
    #[cfg(target_arch = "aarch64")]
    &NEON,
    &PORTABLE,
];
