//! Percentiles of pre-activations, the paper's view of internal covariate shift (Figure 1 b, c).

use bn_inception::Model;
use bn_inception_dashboard::run_log::ActivationPercentiles;
use burn::tensor::{Tensor, TensorReadError};

/// Approximate number of values sorted per layer; more would take longer and show the same.
const VALUES: usize = 1 << 16;

/// The 15th, 50th and 85th percentile of each layer that [`Model::pre_activations`] names, over all channels and
/// positions of `images`. Layers with a value that is not finite are left out.
pub(super) fn percentiles(
    model: &Model,
    images: Option<&Tensor<4>>,
) -> Result<Vec<ActivationPercentiles>, TensorReadError> {
    let Some(images) = images else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (layer, tensor) in model.pre_activations(images.clone()) {
        let values = tensor.try_into_vec_as::<f32>()?;
        if let Some([p15, p50, p85]) = of_values(&values) {
            found.push(ActivationPercentiles { layer, p15, p50, p85 });
        }
    }
    Ok(found)
}

fn of_values(values: &[f32]) -> Option<[f32; 3]> {
    // An odd stride does not stay in the same columns of a map of even width.
    let stride = values.len().div_ceil(VALUES) | 1;
    let mut chosen: Vec<f32> = values.iter().step_by(stride).copied().collect();
    if chosen.is_empty() || chosen.iter().any(|value| !value.is_finite()) {
        return None;
    }
    Some([0.15, 0.5, 0.85].map(|share| percentile(&mut chosen, share)))
}

/// The value that a `share` of `values` is below or at, by nearest rank. `values` must not be empty; its order changes.
pub fn percentile(values: &mut [f32], share: f64) -> f32 {
    let rank = (share * values.len() as f64).ceil() as usize;
    let rank = rank.clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(rank, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_inception::Preset;
    use burn::tensor::Device;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<f32> = (1..=100).rev().map(|value| value as f32).collect();
        assert_eq!(of_values(&values), Some([15.0, 50.0, 85.0]));
        assert_eq!(of_values(&[7.0]), Some([7.0; 3]));
        assert_eq!(of_values(&[7.0, f32::NAN]), None);
        assert_eq!(of_values(&[]), None);
        // A sample, but still from one end to the other.
        let many: Vec<f32> = (0..1_000_000).map(|value| value as f32 / 1e6).collect();
        let [low, _, high] = of_values(&many).unwrap();
        assert!((low - 0.15).abs() < 1e-3 && (high - 0.85).abs() < 1e-3);
    }

    #[test]
    fn the_layers_are_the_first_of_each_block() {
        let device = Device::flex();
        let config = Preset::Caffe.config().with_width(0.1).with_classes(3);
        let model = config.init(&device).unwrap();
        let images = Tensor::<4>::ones([1, 3, 64, 64], &device);
        let found = percentiles(&model, Some(&images)).unwrap();
        let layers: Vec<_> = found.iter().map(|layer| layer.layer.as_str()).collect();
        assert_eq!(layers.len(), 11);
        assert_eq!(layers[..2], ["stem.conv1", "3a.conv_1x1"]);
        assert_eq!(layers[3], "3c.reduce_3x3");
        assert!(percentiles(&model, None).unwrap().is_empty());
    }
}
