//! The two register-tiled inner loops, for every instruction set.
//!
//! *Product*: `c[ROWS][width] += a[depth][ROWS]ᵀ · b[depth][width]`. One operand is broadcast, the other is read as
//! vectors; the tile of `c` stays in registers for the whole depth.
//!
//! *Dot*: `c[j][i] += Σ a[i][p] · b[j][p]` with vectors along `p`, for the weight gradient, both of whose operands are
//! contiguous along the pixels, the summed index. Neither needs transposing; the lanes are summed once per tile, four
//! rows at a time.

#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Vector};

type Product = unsafe fn(vectors: usize, depth: usize, a: *const f32, b: *const f32, c: *mut f32, add: bool);
type Dot = unsafe fn(columns: usize, vectors: usize, a: *const f32, lda: usize, b: *const f32, ldb: usize, c: *mut f32);

/// Number of rows (`a`) of a dot tile.
pub(crate) const DOT_ROWS: usize = 4;

/// Name of the instruction set of the training kernels on this processor: `"avx512"`, `"avx2"`, `"neon"` or
/// `"portable"`.
pub fn instruction_set() -> &'static str {
    Tiles::best().name
}

/// The inner loops of one instruction set and the sizes of their tiles.
pub(crate) struct Tiles {
    /// Name of the instruction set.
    pub(crate) name: &'static str,
    /// Number of floats in a register.
    pub(crate) lanes: usize,
    /// Number of rows of a product tile.
    pub(crate) rows: usize,
    /// Number of floats in a row of a product tile: a multiple of `lanes`, and of the 8 floats that panels are copied
    /// by.
    pub(crate) width: usize,
    /// Number of columns (`b`) of a dot tile.
    pub(crate) dot_columns: usize,
    product: Product,
    dot: Dot,
    available: fn() -> bool,
}

impl Tiles {
    /// The fastest loops this processor can run.
    pub(crate) fn best() -> &'static Self {
        Self::available().next().unwrap_or(&PORTABLE)
    }

    /// All loops this processor can run, fastest first.
    pub(crate) fn available() -> impl Iterator<Item = &'static Self> {
        ALL.iter().copied().filter(|t| (t.available)())
    }

    /// One product tile. `a` is `[depth][rows]`, `b` is `[depth][width]`, `c` is `[rows][width]`. Only the first
    /// `vectors` registers of each row are computed; they are added to the old values if `add`, otherwise they replace
    /// them.
    pub(crate) fn product(&self, vectors: usize, depth: usize, a: &[f32], b: &[f32], c: &mut [f32], add: bool) {
        assert!(vectors >= 1 && vectors * self.lanes <= self.width);
        assert!(a.len() >= depth * self.rows && b.len() >= depth * self.width && c.len() >= self.rows * self.width);
        // SAFETY: a `Tiles` is only reachable through `best`/`available`, which check the instruction set; the extents
        // are those asserted above.
        unsafe { (self.product)(vectors, depth, a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), add) }
    }

    /// One dot tile, added to `c`, `[columns][DOT_ROWS]`. Row `i` of `a` starts at `i * lda`, row `j` of `b` at
    /// `j * ldb`; each has `length` floats, a multiple of `lanes`.
    #[allow(clippy::too_many_arguments)] // the extents of three matrices
    pub(crate) fn dot(
        &self,
        columns: usize,
        length: usize,
        a: &[f32],
        lda: usize,
        b: &[f32],
        ldb: usize,
        c: &mut [f32],
    ) {
        assert!(columns >= 1 && columns <= self.dot_columns && length.is_multiple_of(self.lanes));
        assert!(length <= lda && a.len() >= (DOT_ROWS - 1) * lda + length);
        assert!(length <= ldb && b.len() >= (columns - 1) * ldb + length);
        assert!(c.len() >= columns * DOT_ROWS);
        // SAFETY: as in `product`.
        unsafe { (self.dot)(columns, length / self.lanes, a.as_ptr(), lda, b.as_ptr(), ldb, c.as_mut_ptr()) }
    }
}

/// # Safety
/// `V`'s instruction set; `a[depth * ROWS]` and `b[depth * width]` readable, `c[ROWS * width]` writable.
#[inline(always)]
unsafe fn product<V: Vector, const ROWS: usize, const VECTORS: usize>(
    width: usize,
    depth: usize,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    add: bool,
) {
    // SAFETY: all offsets stay below the extents in the contract; VECTORS * LANES <= width.
    unsafe {
        let mut acc = [[V::zero(); VECTORS]; ROWS];
        for k in 0..depth {
            let mut right = [V::zero(); VECTORS];
            for (v, r) in right.iter_mut().enumerate() {
                *r = V::load(b.add(k * width + v * V::LANES));
            }
            for (m, row) in acc.iter_mut().enumerate() {
                let left = V::splat(*a.add(k * ROWS + m));
                for (sum, r) in row.iter_mut().zip(right) {
                    *sum = left.mul_add(r, *sum);
                }
            }
        }
        for (m, row) in acc.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                let to = c.add(m * width + v * V::LANES);
                let sum = if add { sum.add(V::load(to)) } else { sum };
                sum.store(to);
            }
        }
    }
}

/// # Safety
/// `V`'s instruction set; four rows of `a` and COLUMNS rows of `b`, each of `vectors * LANES` floats with strides `lda`
/// and `ldb`, readable; `c[COLUMNS * 4]` writable.
#[inline(always)]
unsafe fn dot<V: Vector, const COLUMNS: usize>(
    vectors: usize,
    a: *const f32,
    lda: usize,
    b: *const f32,
    ldb: usize,
    c: *mut f32,
) {
    // SAFETY: all offsets stay below the extents in the contract.
    unsafe {
        let mut acc = [[V::zero(); DOT_ROWS]; COLUMNS];
        for p in 0..vectors {
            let mut left = [V::zero(); DOT_ROWS];
            for (i, l) in left.iter_mut().enumerate() {
                *l = V::load(a.add(i * lda + p * V::LANES));
            }
            for (j, column) in acc.iter_mut().enumerate() {
                let right = V::load(b.add(j * ldb + p * V::LANES));
                for (sum, l) in column.iter_mut().zip(left) {
                    *sum = l.mul_add(right, *sum);
                }
            }
        }
        for (j, column) in acc.into_iter().enumerate() {
            for (i, sum) in V::sums(column).into_iter().enumerate() {
                *c.add(j * DOT_ROWS + i) += sum;
            }
        }
    }
}

/// Instantiations of both loops for one instruction set, with a branch for each partial tile.
macro_rules! tiles {
    ($name:ident, $module:ident, $vector:ty, rows $rows:literal x [$($v:literal)+] of $vmax:literal, dot 4 x [$($c:literal)+] of $cmax:literal, $available:expr $(, #[$feature:meta])?) => {
        mod $module {
            use super::*;

            $(#[$feature])?
            pub(super) unsafe fn product_entry(vectors: usize, depth: usize, a: *const f32, b: *const f32, c: *mut f32, add: bool) {
                let width = <$vector>::LANES * $vmax;
                // SAFETY: the caller keeps the contract of the generic loop.
                unsafe {
                    match vectors {
                        $($v => product::<$vector, $rows, $v>(width, depth, a, b, c, add),)+
                        _ => product::<$vector, $rows, $vmax>(width, depth, a, b, c, add),
                    }
                }
            }

            $(#[$feature])?
            pub(super) unsafe fn dot_entry(columns: usize, vectors: usize, a: *const f32, lda: usize, b: *const f32, ldb: usize, c: *mut f32) {
                // SAFETY: the caller keeps the contract of the generic loop.
                unsafe {
                    match columns {
                        $($c => dot::<$vector, $c>(vectors, a, lda, b, ldb, c),)+
                        _ => dot::<$vector, $cmax>(vectors, a, lda, b, ldb, c),
                    }
                }
            }
        }

        static $name: Tiles = Tiles {
            name: stringify!($module),
            lanes: <$vector>::LANES,
            rows: $rows,
            width: <$vector>::LANES * $vmax,
            dot_columns: $cmax,
            product: $module::product_entry,
            dot: $module::dot_entry,
            available: $available,
        };
    };
}

// Tile sizes fill the register file: 24 of 32 accumulators on AVX-512 and NEON, 12 and 8 of 16 on AVX2.
#[cfg(target_arch = "x86_64")]
tiles!(
    AVX512, avx512, Avx512, rows 8 x [1 2] of 3, dot 4 x [1 2 3 4 5] of 6,
    || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    #[target_feature(enable = "avx512f,avx2,fma")]
);
#[cfg(target_arch = "x86_64")]
tiles!(
    AVX2, avx2, Avx2, rows 4 x [1 2] of 3, dot 4 x [1] of 2,
    || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    #[target_feature(enable = "avx2,fma")]
);
#[cfg(target_arch = "aarch64")]
tiles!(
    NEON, neon, Neon, rows 6 x [1 2 3] of 4, dot 4 x [1 2 3 4 5] of 6,
    || std::arch::is_aarch64_feature_detected!("neon"),
    #[target_feature(enable = "neon")]
);
tiles!(PORTABLE, portable, Portable, rows 4 x [1] of 2, dot 4 x [1] of 2, || true);

static ALL: &[&Tiles] = &[
    #[cfg(target_arch = "x86_64")]
    &AVX512,
    #[cfg(target_arch = "x86_64")]
    &AVX2,
    #[cfg(target_arch = "aarch64")]
    &NEON,
    &PORTABLE,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, whose sums are exact, so that results can be compared for equality.
    fn integers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7 + seed * 13 + i / 5) % 9) as f32 - 4.0).collect()
    }

    #[test]
    fn product_is_exact_on_every_instruction_set() {
        for t in Tiles::available() {
            for vectors in 1..=t.width / t.lanes {
                for depth in [0, 1, 2, 17] {
                    let a = integers(depth * t.rows, 1);
                    let b = integers(depth * t.width, 2);
                    let old = integers(t.rows * t.width, 3);
                    for add in [false, true] {
                        let mut c = old.clone();
                        t.product(vectors, depth, &a, &b, &mut c, add);
                        for m in 0..t.rows {
                            for n in 0..t.width {
                                let at = m * t.width + n;
                                let sum: f32 = (0..depth).map(|k| a[k * t.rows + m] * b[k * t.width + n]).sum();
                                let expected = match (n < vectors * t.lanes, add) {
                                    (false, _) => old[at],
                                    (true, false) => sum,
                                    (true, true) => sum + old[at],
                                };
                                assert_eq!(
                                    c[at], expected,
                                    "{} vectors {vectors} depth {depth} add {add} at {m},{n}",
                                    t.name
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn dot_is_exact_on_every_instruction_set() {
        for t in Tiles::available() {
            for columns in 1..=t.dot_columns {
                for length in [0, t.lanes, 5 * t.lanes] {
                    let (lda, ldb) = (length + 3, length + 5);
                    let a = integers(DOT_ROWS * lda, 1);
                    let b = integers(columns * ldb, 2);
                    let old = integers(columns * DOT_ROWS, 3);
                    let mut c = old.clone();
                    t.dot(columns, length, &a, lda, &b, ldb, &mut c);
                    for (at, (c, old)) in c.into_iter().zip(old).enumerate() {
                        let (j, i) = (at / DOT_ROWS, at % DOT_ROWS);
                        let sum: f32 = (0..length).map(|p| a[i * lda + p] * b[j * ldb + p]).sum();
                        assert_eq!(c, old + sum, "{} columns {columns} length {length} at {i},{j}", t.name);
                    }
                }
            }
        }
    }
}
