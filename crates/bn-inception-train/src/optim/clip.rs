//! Gradient clipping by global norm, and the mean over accumulated micro-batches.

use super::parameters::NamedTensors;

/// Scales all gradients by the same factor, from the global norm `norm` down to `max_norm`.
///
/// The factor is `max_norm / (norm + 1e-6)`, capped at 1, as in PyTorch's `clip_grad_norm_`. A norm that is not finite
/// leaves the gradients as they are.
#[must_use]
pub fn clip_by_global_norm(gradients: NamedTensors, norm: f64, max_norm: f64) -> NamedTensors {
    let factor = max_norm / (norm + 1e-6);
    if !factor.is_finite() || factor >= 1.0 {
        return gradients;
    }
    scaled(gradients, factor)
}

/// The sum of `gradients` and `more`.
#[must_use]
pub fn add(mut gradients: NamedTensors, more: NamedTensors) -> NamedTensors {
    for (name, tensor) in more {
        let sum = match gradients.remove(&name) {
            Some(sum) => sum + tensor,
            None => tensor,
        };
        gradients.insert(name, sum);
    }
    gradients
}

/// All gradients times `factor`.
#[must_use]
pub fn scaled(gradients: NamedTensors, factor: f64) -> NamedTensors {
    gradients.into_iter().map(|(name, tensor)| (name, tensor.mul_scalar(factor))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};

    fn named(pairs: &[(&str, &[f32])]) -> NamedTensors {
        pairs
            .iter()
            .map(|(name, values)| ((*name).to_owned(), Tensor::<1>::from_data(*values, &Device::flex())))
            .collect()
    }

    fn flat(tensors: &NamedTensors) -> Vec<f32> {
        tensors.values().flat_map(|t| t.to_data().try_to_vec::<f32>().unwrap()).collect()
    }

    #[test]
    fn clipping_scales_all_gradients_alike_and_only_down() {
        let gradients = named(&[("a", &[3.0]), ("b", &[0.0, 4.0])]);
        let clipped = clip_by_global_norm(gradients.clone(), 5.0, 1.0);
        for (found, expected) in flat(&clipped).iter().zip([0.6, 0.0, 0.8]) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        let same = clip_by_global_norm(gradients.clone(), 5.0, 6.0);
        assert_eq!(flat(&same), flat(&gradients));
    }

    #[test]
    fn accumulation_adds_by_name() {
        let sum = add(named(&[("a", &[1.0]), ("b", &[2.0])]), named(&[("b", &[3.0]), ("c", &[4.0])]));
        assert_eq!(flat(&scaled(sum, 0.5)), [0.5, 2.5, 2.0]);
    }
}
