//! One vector type per instruction set.

pub(crate) mod kernels;

/// Prefetch hint: the cache line at this address will be read soon. The address need not be readable.
#[inline(always)]
pub(crate) fn prefetch(line: *const f32) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 processor has the instruction; it has no effect that the program can observe.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = line;
}

/// A register of `f32` lanes.
///
/// # Safety
/// Every method may use instructions of the implementing type's instruction set: callers must run on a processor that
/// has it, in functions compiled for it.
pub(crate) trait Vector: Copy {
    /// Number of lanes of a register.
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    /// Reads `LANES` floats of any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` floats of any alignment.
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// The larger of each pair of lanes; NaN where either is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// `self * factor + addend`.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The lanes where `y` is positive, zero elsewhere.
    unsafe fn where_positive(self, y: Self) -> Self;
    /// The lanes where `a` equals `b` or is NaN, zero elsewhere.
    unsafe fn where_equal(self, a: Self, b: Self) -> Self;
}

/// Eight lanes of plain Rust, for processors without a type of their own. Multiplication and addition are separate
/// operations: a fused one is a library call where the hardware has none.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

impl Vector for Portable {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 8])
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees eight readable floats; arrays of f32 have no other requirement.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees eight writable floats.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a += b;
        }
        self
    }
    #[inline(always)]
    unsafe fn sub(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a -= b;
        }
        self
    }
    #[inline(always)]
    unsafe fn mul(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a *= b;
        }
        self
    }
    #[inline(always)]
    unsafe fn max(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = if *a > b || a.is_nan() { *a } else { b };
        }
        self
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, mut addend: Self) -> Self {
        for ((c, a), b) in addend.0.iter_mut().zip(self.0).zip(factor.0) {
            *c += a * b;
        }
        addend
    }
    #[inline(always)]
    unsafe fn where_positive(mut self, y: Self) -> Self {
        for (x, y) in self.0.iter_mut().zip(y.0) {
            *x = if y > 0.0 { *x } else { 0.0 };
        }
        self
    }
    #[inline(always)]
    unsafe fn where_equal(mut self, a: Self, b: Self) -> Self {
        for (x, (a, b)) in self.0.iter_mut().zip(a.0.into_iter().zip(b.0)) {
            *x = if a == b || a.is_nan() { *x } else { 0.0 };
        }
        self
    }
}

/// Implementation of [`Vector`] for a register type, from the names of its intrinsics.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector {
    ($name:ident, $reg:ty, $lanes:expr, $zero:ident, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $max:ident, $fma:ident, $positive:ident, $equal:ident) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name($reg);

        // SAFETY (every block below): by the trait's contract these calls run on a processor with the instruction set,
        // and the caller guarantees the extents of the pointers.
        impl Vector for $name {
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $zero() })
            }
            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: see the impl.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $fma(self.0, factor.0, addend.0) })
            }
            #[inline(always)]
            unsafe fn where_positive(self, y: Self) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $positive(self.0, y.0) })
            }
            #[inline(always)]
            unsafe fn where_equal(self, a: Self, b: Self) -> Self {
                // SAFETY: see the impl.
                Self(unsafe { $equal(self.0, a.0, b.0) })
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    // The instruction returns its second operand if either is NaN; a NaN in the first must be kept.

    #[inline(always)]
    unsafe fn max8(a: __m256, b: __m256) -> __m256 {
        // SAFETY: called from AVX2 code only.
        unsafe { _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)) }
    }

    #[inline(always)]
    unsafe fn max16(a: __m512, b: __m512) -> __m512 {
        // SAFETY: called from AVX-512 code only.
        unsafe { _mm512_mask_max_ps(a, _mm512_cmp_ps_mask::<_CMP_ORD_Q>(a, a), a, b) }
    }

    #[inline(always)]
    unsafe fn positive8(x: __m256, y: __m256) -> __m256 {
        // SAFETY: called from AVX2 code only.
        unsafe { _mm256_and_ps(x, _mm256_cmp_ps::<_CMP_GT_OQ>(y, _mm256_setzero_ps())) }
    }

    #[inline(always)]
    unsafe fn positive16(x: __m512, y: __m512) -> __m512 {
        // SAFETY: called from AVX-512 code only.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(y, _mm512_setzero_ps()), x) }
    }

    #[inline(always)]
    unsafe fn equal8(x: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: called from AVX2 code only.
        unsafe {
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a);
            _mm256_and_ps(x, _mm256_or_ps(nan, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b)))
        }
    }

    #[inline(always)]
    unsafe fn equal16(x: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: called from AVX-512 code only.
        unsafe {
            let mask = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            _mm512_maskz_mov_ps(mask, x)
        }
    }

    vector!(
        Avx512,
        __m512,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        max16,
        _mm512_fmadd_ps,
        positive16,
        equal16
    );
    vector!(
        Avx2,
        __m256,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        max8,
        _mm256_fmadd_ps,
        positive8,
        equal8
    );
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Vector;
    use std::arch::aarch64::*;

    #[inline(always)]
    unsafe fn zero4() -> float32x4_t {
        // SAFETY: called from NEON code only.
        unsafe { vdupq_n_f32(0.0) }
    }

    /// `a * b + c`; the intrinsic takes the addend first.
    #[inline(always)]
    unsafe fn fma4(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: called from NEON code only.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    unsafe fn positive4(x: float32x4_t, y: float32x4_t) -> float32x4_t {
        // SAFETY: called from NEON code only.
        unsafe { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vcgtzq_f32(y))) }
    }

    #[inline(always)]
    unsafe fn equal4(x: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: called from NEON code only.
        unsafe {
            // A NaN does not equal itself.
            let mask = vornq_u32(vceqq_f32(a, b), vceqq_f32(a, a));
            vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), mask))
        }
    }

    // The instruction returns NaN where either operand is NaN: no correction as on x86.
    vector!(
        Neon,
        float32x4_t,
        4,
        zero4,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vaddq_f32,
        vsubq_f32,
        vmulq_f32,
        vmaxq_f32,
        fma4,
        positive4,
        equal4
    );
}

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;
