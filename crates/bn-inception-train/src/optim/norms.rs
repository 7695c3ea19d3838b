//! Euclidean norms.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorReadError};
use rayon::prelude::*;

use super::flat::{Buffer, CHUNK, Flat, Slot};

/// Sums of squares of the tensors of a [`Flat`].
///
/// On CPU devices they are summed in `f64` and in an order that does not depend on the number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Norms {
    index: Arc<[Slot]>,
    squares: Vec<f64>,
}

impl Norms {
    /// The sums of `tensors`, read back from the device in one transfer.
    ///
    /// # Errors
    /// [`TensorReadError`] if the device cannot be read.
    pub fn of(tensors: &Flat) -> Result<Self, TensorReadError> {
        let index = tensors.index.clone();
        let squares = match &tensors.buffer {
            Buffer::Host(values) => {
                let pieces =
                    |slot: &Slot| values[slot.range.clone()].par_chunks(CHUNK).map(squares).collect::<Vec<_>>();
                let sum = |slot| pieces(slot).iter().sum();
                index.par_iter().map(sum).collect()
            }
            Buffer::Device(values) => {
                let square = |slot: &Slot| Tensor::clone(values).slice([slot.range.clone()]).powi_scalar(2).sum();
                Tensor::cat(index.iter().map(square).collect(), 0).try_into_vec_as::<f64>()?
            }
        };
        Ok(Self { index, squares })
    }

    /// The norm of all tensors as one vector.
    #[must_use]
    pub fn global(&self) -> f64 {
        self.of_some(|_| true)
    }

    /// The norm of those tensors as one vector that are `wanted`.
    pub fn of_some(&self, wanted: impl Fn(&Slot) -> bool) -> f64 {
        let own = self.index.iter().zip(&self.squares).filter(|(slot, _)| wanted(slot));
        own.map(|(_, square)| square).sum::<f64>().sqrt()
    }
}

/// Sum of the squares, in eight partial sums for the sake of vector instructions.
fn squares(values: &[f32]) -> f64 {
    let (rows, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for row in rows {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    let rest = rest.iter().map(|value| f64::from(*value) * f64::from(*value));
    sums.into_iter().chain(rest).sum()
}

/// The factor that scales gradients of global norm `norm` down to `max_norm`: `max_norm / (norm + 1e-6)`, at most 1, as
/// in PyTorch's `clip_grad_norm_`. 1 for a norm that is not finite.
#[must_use]
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    let factor = max_norm / (norm + 1e-6);
    if norm.is_finite() { factor.min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn flat(tensors: &[(&str, Vec<f32>)]) -> Flat {
        let tensor = |values: &[f32]| Tensor::<1>::from_data(values, &Device::flex());
        Flat::new(tensors.iter().map(|(name, values)| ((*name).to_owned(), tensor(values))).collect())
    }

    #[test]
    fn norms_are_global_and_of_some() {
        let norms = Norms::of(&flat(&[("a.weight", vec![3.0]), ("b.weight", vec![0.0, 4.0]), ("b.bias", vec![12.0])]));
        let norms = norms.unwrap();
        assert_eq!(norms.global(), 13.0);
        assert_eq!(norms.of_some(|slot| slot.name.ends_with("weight")), 5.0);
        assert_eq!(Norms::of(&flat(&[])).unwrap().global(), 0.0);
    }

    #[test]
    fn norms_do_not_depend_on_the_number_of_threads() {
        let values = |start: usize, count: usize| (start..start + count).map(|i| (i as f32).sin()).collect();
        let tensors =
            flat(&[("a.weight", values(0, 100_003)), ("b.weight", values(7, 9)), ("b.bias", values(3, 40_000))]);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Norms::of(&tensors)).unwrap()
        };
        let one = with(1);
        assert_eq!(one, with(3));
        assert_eq!(one, with(8));
        let exact: f64 = tensors.to_vec().unwrap().iter().map(|value| f64::from(*value).powi(2)).sum();
        assert!((one.global() - exact.sqrt()).abs() < 1e-9 * exact.sqrt());
        let mut on_device = tensors.clone();
        on_device.buffer.on(&Device::flex());
        let found = Norms::of(&on_device).unwrap();
        assert!((found.global() - one.global()).abs() < 1e-5 * one.global());
    }

    #[test]
    fn clipping_scales_only_down() {
        for (norm, max_norm, expected) in
            [(5.0, 1.0, 0.2), (5.0, 6.0, 1.0), (0.0, 1.0, 1.0), (f64::INFINITY, 1.0, 1.0), (f64::NAN, 1.0, 1.0)]
        {
            let found = clip_factor(norm, max_norm);
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }
}
