//! The non-linearities after a convolution.

use crate::plan::layout::BLOCK;
use crate::simd::Vector;

/// Non-linearity after a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// max(0, y).
    Relu = 0,
    /// 1 / (1 + exp(−y)).
    Sigmoid = 1,
    /// y.
    Identity = 2,
}

/// A non-linearity on registers.
///
/// # Safety
/// Callers of each method run on a processor with `V`'s instruction set, in functions compiled for it.
pub(crate) trait Function {
    unsafe fn of<V: Vector>(y: V) -> V;
    /// Gradient at `y` of an output gradient `da`.
    unsafe fn pull_back<V: Vector>(y: V, da: V) -> V;
}

/// [`Activation::Relu`].
pub(crate) struct Relu;

impl Function for Relu {
    #[inline(always)]
    unsafe fn of<V: Vector>(y: V) -> V {
        // SAFETY: by the contract of the trait.
        unsafe { V::zero().max(y) }
    }

    #[inline(always)]
    unsafe fn pull_back<V: Vector>(y: V, da: V) -> V {
        // SAFETY: by the contract of the trait.
        unsafe { da.where_positive(y) }
    }
}

/// [`Activation::Identity`].
pub(crate) struct Identity;

impl Function for Identity {
    #[inline(always)]
    unsafe fn of<V: Vector>(y: V) -> V {
        y
    }

    #[inline(always)]
    unsafe fn pull_back<V: Vector>(_: V, da: V) -> V {
        da
    }
}

/// [`Activation::Sigmoid`].
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    unsafe fn of<V: Vector>(y: V) -> V {
        let mut lanes = [0.0; BLOCK];
        // SAFETY: a register has at most `BLOCK` lanes; otherwise by the contract of the trait.
        unsafe {
            y.store(lanes.as_mut_ptr());
            for lane in &mut lanes[..V::LANES] {
                *lane = 1.0 / (1.0 + exp(-*lane));
            }
            V::load(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn pull_back<V: Vector>(y: V, da: V) -> V {
        // SAFETY: by the contract of the trait.
        unsafe {
            let s = Self::of(y);
            da.mul(s.mul(V::splat(1.0).sub(s)))
        }
    }
}

/// Exponential function to the precision of `f32`, without a call, so that loops over it become vector code.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2. Adding and subtracting 1.5 · 2²³ rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let series = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let mut sum = 0.0;
    for term in series {
        sum = sum * r + term;
    }
    // `n` is in -126..=126; NaN becomes 0 here and stays in `sum`.
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    sum * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    #[test]
    fn exponential_function() {
        for i in -8600..8600 {
            let x = i as f32 / 100.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 4e-7, "exp({x}) = {found}, expected {expected}");
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_of_extreme_values() {
        // SAFETY: the portable vector needs no instruction set, and the array holds its lanes.
        let of = |y: f32| unsafe {
            let mut lanes = [0.0f32; BLOCK];
            Sigmoid::of(Portable::splat(y)).store(lanes.as_mut_ptr());
            lanes[0]
        };
        assert_eq!(of(-1e30), 1.0 / (1.0 + exp(87.0)));
        assert_eq!(of(f32::INFINITY), 1.0);
        assert!(of(f32::NAN).is_nan());
    }
}
