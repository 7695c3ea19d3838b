//! Gradient clipping by global norm, and the mean over accumulated micro-batches.

use burn::tensor::{Tensor, TensorReadError};

use crate::parameters::NamedTensors;

/// The Euclidean norm of all gradients taken as one vector.
///
/// # Errors
/// When the device fails to hand the number over.
pub fn global_norm(gradients: &NamedTensors) -> Result<f64, TensorReadError> {
    // One number is read back from the device, not one for each parameter.
    let squares: Vec<Tensor<1>> = gradients
        .values()
        .map(|gradient| gradient.clone().powi_scalar(2).sum())
        .collect();
    if squares.is_empty() {
        return Ok(0.0);
    }
    Tensor::cat(squares, 0)
        .sum()
        .sqrt()
        .try_into_scalar::<f64>()
}

/// Scales all gradients alike so that their [`global_norm`] is at most `max_norm`, and returns
/// them with the norm they had.
///
/// The factor is `max_norm / (norm + 1e-6)`, capped at 1, as in PyTorch's `clip_grad_norm_`. A
/// norm that is not finite leaves the gradients as they are: the caller sees it and stops.
///
/// # Errors
/// When the device fails to hand the norm over.
pub fn clip_by_global_norm(
    gradients: NamedTensors,
    max_norm: f64,
) -> Result<(NamedTensors, f64), TensorReadError> {
    let norm = global_norm(&gradients)?;
    let factor = max_norm / (norm + 1e-6);
    if !factor.is_finite() || factor >= 1.0 {
        return Ok((gradients, norm));
    }
    Ok((scaled(gradients, factor), norm))
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
    gradients
        .into_iter()
        .map(|(name, tensor)| (name, tensor.mul_scalar(factor)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn named(pairs: &[(&str, &[f32])]) -> NamedTensors {
        pairs
            .iter()
            .map(|(name, values)| {
                (
                    (*name).to_owned(),
                    Tensor::<1>::from_data(*values, &Device::flex()),
                )
            })
            .collect()
    }

    fn flat(tensors: &NamedTensors) -> Vec<f32> {
        tensors
            .values()
            .flat_map(|t| t.to_data().try_to_vec::<f32>().unwrap())
            .collect()
    }

    #[test]
    fn the_norm_is_global() {
        let gradients = named(&[("a", &[3.0]), ("b", &[0.0, 4.0])]);
        assert!((global_norm(&gradients).unwrap() - 5.0).abs() < 1e-6);
        assert_eq!(global_norm(&NamedTensors::new()).unwrap(), 0.0);
    }

    #[test]
    fn clipping_scales_all_gradients_alike_and_only_down() {
        let gradients = named(&[("a", &[3.0]), ("b", &[0.0, 4.0])]);
        let (clipped, norm) = clip_by_global_norm(gradients.clone(), 1.0).unwrap();
        assert!((norm - 5.0).abs() < 1e-6);
        for (found, expected) in flat(&clipped).iter().zip([0.6, 0.0, 0.8]) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        let (same, _) = clip_by_global_norm(gradients.clone(), 6.0).unwrap();
        assert_eq!(flat(&same), flat(&gradients));
    }

    #[test]
    fn accumulation_adds_by_name() {
        let sum = add(
            named(&[("a", &[1.0]), ("b", &[2.0])]),
            named(&[("b", &[3.0]), ("c", &[4.0])]),
        );
        assert_eq!(flat(&scaled(sum, 0.5)), [0.5, 2.5, 2.0]);
    }
}
