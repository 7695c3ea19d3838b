//! Gradients, updates and values of each block's parameters.

use std::collections::BTreeMap;

use bn_inception::Model;
use bn_inception::TensorRole;
use bn_inception_dashboard::run_log::{BlockTelemetry, Histogram};
use burn::tensor::{Tensor, TensorReadError};

use super::histogram;
use crate::optim::NamedTensors;

/// Sums of squares by tensor name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Norms(BTreeMap<String, f64>);

impl Norms {
    /// Sums for `tensors`, read back from the device in one transfer.
    pub(crate) fn of(tensors: &NamedTensors) -> Result<Self, TensorReadError> {
        if tensors.is_empty() {
            return Ok(Self::default());
        }
        let squares = tensors.values().map(|t| t.clone().powi_scalar(2).sum());
        let squares = Tensor::cat(squares.collect(), 0).try_into_vec_as::<f64>()?;
        Ok(Self(tensors.keys().cloned().zip(squares).collect()))
    }

    /// The Euclidean norm of all of them as one vector.
    pub(crate) fn global(&self) -> f64 {
        self.0.values().sum::<f64>().sqrt()
    }

    fn of_block(&self, block: &str) -> f64 {
        let own = self.0.iter().filter(|(name, _)| block_of(name) == block);
        own.map(|(_, square)| square).sum::<f64>().sqrt()
    }
}

/// The change of the weights in one optimizer step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Change {
    before: Norms,
    difference: Norms,
}

impl Change {
    /// From all values of a network before the step to those after it.
    pub(super) fn between(before: &NamedTensors, after: &NamedTensors) -> Result<Self, TensorReadError> {
        let weights = before.iter().filter(|(name, _)| TensorRole::of(name) == TensorRole::Weight);
        let both = weights.filter_map(|(name, old)| Some((name, old, after.get(name)?)));
        let difference = both.map(|(name, old, new)| (name.clone(), new.clone() - old.clone()));
        let difference: NamedTensors = difference.collect();
        let before = difference.keys().map(|name| (name.clone(), before[name].clone()));
        Ok(Self { before: Norms::of(&before.collect())?, difference: Norms::of(&difference)? })
    }

    fn ratio(&self, block: &str) -> f64 {
        let before = self.before.of_block(block);
        match self.difference.of_block(block) / before {
            ratio if ratio.is_finite() => ratio,
            _ => 0.0,
        }
    }
}

/// `3a` of `3a.conv_1x1.weight`.
fn block_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// All blocks of `model`, which has these `parameters`, in forward order.
pub(super) fn blocks(
    model: &Model,
    parameters: &NamedTensors,
    gradients: &Norms,
    change: &Change,
) -> Result<Vec<BlockTelemetry>, TensorReadError> {
    let mut values: BTreeMap<(String, Kind), Vec<Vec<f32>>> = BTreeMap::new();
    for (name, tensor) in parameters {
        if let Some(kind) = Kind::of(name) {
            let key = (block_of(name).to_owned(), kind);
            let data = tensor.clone().try_into_vec_as::<f32>()?;
            values.entry(key).or_default().push(data);
        }
    }
    let names = model.blocks.iter().map(|block| block.name());
    let names = std::iter::once("stem").chain(names).chain(["classifier"]);
    let block = |name: &str| {
        let of = |kind| -> Option<Histogram> { histogram::of(values.get(&(name.to_owned(), kind))?) };
        Some(BlockTelemetry {
            block: name.to_owned(),
            grad_norm: gradients.of_block(name),
            update_ratio: change.ratio(name),
            weights: of(Kind::Weight)?,
            gamma: of(Kind::Gamma),
            beta: of(Kind::Shift),
        })
    };
    Ok(names.filter_map(block).collect())
}

/// Parameters that share one histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Weight,
    Gamma,
    /// β; the classifier's bias. A bias before a batch normalisation counts here, too.
    Shift,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match TensorRole::of(name) {
            TensorRole::Weight => Some(Self::Weight),
            TensorRole::Bias => Some(Self::Shift),
            TensorRole::Norm if name.ends_with("gamma") => Some(Self::Gamma),
            TensorRole::Norm => Some(Self::Shift),
            TensorRole::Statistic => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim;
    use bn_inception::Preset;
    use burn::tensor::Device;

    fn named(pairs: &[(&str, &[f32])]) -> NamedTensors {
        let device = Device::flex();
        let tensor = |values: &[f32]| Tensor::<1>::from_data(values, &device);
        let pairs = pairs.iter();
        pairs.map(|(name, values)| ((*name).to_owned(), tensor(values))).collect()
    }

    #[test]
    fn norms_are_global_and_by_block() {
        let norms = Norms::of(&named(&[
            ("3a.conv_1x1.weight", &[3.0]),
            ("3a.conv_1x1.norm.beta", &[0.0, 4.0]),
            ("3b.conv_1x1.weight", &[12.0]),
        ]));
        let norms = norms.unwrap();
        assert_eq!(norms.global(), 13.0);
        assert_eq!((norms.of_block("3a"), norms.of_block("3b")), (5.0, 12.0));
        assert_eq!(Norms::of(&NamedTensors::new()).unwrap().global(), 0.0);
    }

    #[test]
    fn the_ratio_is_of_the_weights() {
        let before = named(&[
            ("3a.conv_1x1.weight", &[3.0, 4.0]),
            ("3a.conv_1x1.norm.beta", &[1.0]),
            ("3b.conv_1x1.weight", &[0.0]),
        ]);
        let after = named(&[
            ("3a.conv_1x1.weight", &[3.0, 4.5]),
            ("3a.conv_1x1.norm.beta", &[9.0]),
            ("3b.conv_1x1.weight", &[1.0]),
        ]);
        let change = Change::between(&before, &after).unwrap();
        assert!((change.ratio("3a") - 0.1).abs() < 1e-6);
        assert_eq!(change.ratio("3b"), 0.0, "nothing to divide by");
    }

    #[test]
    fn blocks_come_in_forward_order_with_every_parameter() {
        let config = Preset::Caffe.config().with_width(0.1).with_classes(3);
        let model = config.init(&Device::flex()).unwrap();
        let found = blocks(&model, &optim::values(&model), &Norms::default(), &Change::default()).unwrap();
        let names: Vec<_> = found.iter().map(|block| block.block.as_str()).collect();
        let expected = "stem 3a 3b 3c 4a 4b 4c 4d 4e 5a 5b classifier";
        assert_eq!(names.join(" "), expected);
        let count = |h: &Histogram| h.counts.iter().sum::<u64>() as usize;
        let optional = |h: &Option<Histogram>| h.as_ref().map_or(0, count);
        let all = found.iter().map(|block| count(&block.weights) + optional(&block.gamma) + optional(&block.beta));
        assert_eq!(all.sum::<usize>(), model.config().parameters());
        assert!(found[0].gamma.is_some() && found[11].gamma.is_none());
    }
}
