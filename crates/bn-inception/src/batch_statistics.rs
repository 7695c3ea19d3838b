//! Statistics of a batch apart from the running ones, for training in which several processes share the batches.

use burn::tensor::Tensor;

use crate::batch_norm::{BatchNorm, Statistics, blend};
use crate::model::Model;

impl Model {
    /// [`Self::forward`] in training that keeps the running statistics, and returns those of the batch: mean and
    /// unbiased variance of every layer of batch normalisation that trains, in forward order, all in one tensor. It is
    /// `None` for a network without such layers, and on a device without autodiff.
    ///
    /// Of processes that each take some of the batches, all that call [`Self::blend_statistics`] with the statistics of
    /// all batches, in the same order, have the same running statistics: to the bit those of one process that
    /// [`forward`](Self::forward)s batch after batch.
    ///
    /// # Shapes
    /// `[N, 3, H, W]` → `[N, classes]` and `[2 · channels]`, the channels of those layers together.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn forward_part(&self, images: Tensor<4>) -> (Tensor<2>, Option<Tensor<1>>) {
        let norms = if images.is_autodiff() { self.norms_in_training() } else { Vec::new() };
        if norms.is_empty() {
            return (self.forward(images), None);
        }
        let kept: Vec<_> = norms.iter().map(|(norm, _)| statistics(norm)).collect();
        let logits = self.forward_with(images, Statistics::Replace);
        let found = norms.iter().flat_map(|(norm, _)| statistics(norm)).collect();
        for ((norm, _), statistics) in norms.iter().zip(kept) {
            blend_into(norm, statistics, 1.0);
        }
        (logits, Some(Tensor::cat(found, 0)))
    }

    /// Blends the statistics of a batch, from [`Self::forward_part`], into the running ones.
    ///
    /// # Panics
    /// If they are those of another network, or of one with another part frozen.
    pub fn blend_statistics(&self, statistics: &Tensor<1>) {
        let norms = self.norms_in_training();
        let expected: usize = norms.iter().map(|(norm, _)| 2 * norm.beta.dims()[0]).sum();
        assert_eq!(statistics.dims(), [expected], "statistics of another network");
        let mut start = 0;
        for (norm, weight) in norms {
            let [channels] = norm.beta.dims();
            let new = [0, channels].map(|offset| statistics.clone().narrow(0, start + offset, channels));
            blend_into(norm, new, weight);
            start += 2 * channels;
        }
    }

    /// The layers whose running statistics a training step changes, in forward order, each with the weight of a batch.
    fn norms_in_training(&self) -> Vec<(&BatchNorm, f64)> {
        let updates = self.parameters_in_training().into_iter().filter_map(|parameters| parameters.update);
        updates.map(|update| (update.norm, update.weight)).collect()
    }
}

fn statistics(norm: &BatchNorm) -> [Tensor<1>; 2] {
    [&norm.running_mean, &norm.running_var].map(|state| state.value_sync().without_autodiff())
}

fn blend_into(norm: &BatchNorm, new: [Tensor<1>; 2], weight: f64) {
    for (kept, new) in [&norm.running_mean, &norm.running_var].into_iter().zip(new) {
        blend(kept, new, weight);
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::config::{BnInceptionConfig, Normalization};
    use crate::{Preset, ops};

    fn bits(model: &Model) -> Vec<(String, Vec<u32>)> {
        let bits = |data: burn::tensor::TensorData| data.iter::<f32>().map(f32::to_bits).collect();
        model.state().into_iter().map(|(name, data)| (name, bits(data))).collect()
    }

    fn check(config: &BnInceptionConfig, freeze: Option<&str>) {
        let device = Device::flex().autodiff();
        let new = || {
            let model = config.init_seeded(&device, 3).unwrap();
            freeze.map_or(model.clone(), |end_point| model.freeze_through(end_point).unwrap())
        };
        let batches: Vec<_> = (0..3)
            .map(|_| Tensor::<4>::random([2, 3, 40, 48], Distribution::Default, &Device::flex()).autodiff())
            .collect();
        let (together, apart) = (new(), new());
        let before = bits(&apart);
        let mut found = Vec::new();
        for batch in &batches {
            let expected = together.forward(batch.clone()).into_data();
            let (logits, statistics) = apart.forward_part(batch.clone());
            assert_eq!(logits.into_data(), expected, "the pass itself is the same");
            found.push(statistics.unwrap());
            assert_eq!(bits(&apart), before, "the running statistics are kept");
        }
        for statistics in &found {
            apart.blend_statistics(statistics);
        }
        assert!(bits(&apart) == bits(&together), "{config:?}, frozen through {freeze:?}");
        assert!(bits(&apart) != before);
    }

    #[test]
    fn statistics_of_parts_blend_to_those_of_one_process() {
        for preset in [Preset::Paper, Preset::TfSlim, Preset::Caffe] {
            let config = preset.config().with_width(0.1).with_classes(3).with_dropout(0.0);
            check(&config, None);
            check(&config, Some("3b"));
            ops::without_engine(|| check(&config, Some("stem")));
        }
    }

    #[test]
    fn networks_without_batch_normalisation_have_none() {
        let config = Preset::Paper.config().with_width(0.1).with_classes(3);
        let images = Tensor::<4>::ones([1, 3, 32, 32], &Device::flex());
        let model = config.init(&Device::flex()).unwrap();
        assert!(model.forward_part(images.clone()).1.is_none(), "inference");
        let config = config.with_normalization(Normalization::LocalResponse);
        let model = config.init(&Device::flex().autodiff()).unwrap();
        assert!(model.forward_part(images.autodiff()).1.is_none());
    }
}
