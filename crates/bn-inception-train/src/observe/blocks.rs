//! Gradients, updates and values of each block's parameters.

use std::collections::BTreeMap;

use bn_inception::Model;
use bn_inception::TensorRole;
use bn_inception_dashboard::run_log::{BlockTelemetry, Histogram};
use burn::tensor::TensorReadError;

use super::histogram;
use crate::optim::{Flat, Norms, Slot};

/// The change of the weights in one optimizer step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    before: Norms,
    difference: Norms,
}

impl Change {
    /// From all values of a network before the step to those after it.
    pub(super) fn between(before: Flat, after: &Flat) -> Result<Self, TensorReadError> {
        let norms = Norms::of(&before)?;
        Ok(Self { before: norms, difference: Norms::of(&before.scaled(-1.0).plus(after.clone()))? })
    }

    fn ratio(&self, block: &str) -> f64 {
        let own = |slot: &Slot| slot.role == TensorRole::Weight && block_of(&slot.name) == block;
        match self.difference.of_some(own) / self.before.of_some(own) {
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
    parameters: &Flat,
    gradients: &Norms,
    change: &Change,
) -> Result<Vec<BlockTelemetry>, TensorReadError> {
    let all = parameters.to_vec()?;
    let mut values: BTreeMap<(&str, Kind), Vec<&[f32]>> = BTreeMap::new();
    for slot in parameters.index() {
        if let Some(kind) = Kind::of(&slot.name) {
            values.entry((block_of(&slot.name), kind)).or_default().push(&all[slot.range.clone()]);
        }
    }
    let names = model.blocks.iter().map(|block| block.name());
    let names = std::iter::once("stem").chain(names).chain(["classifier"]);
    let block = |name: &str| {
        let of = |kind| -> Option<Histogram> { histogram::of(values.get(&(name, kind))?) };
        Some(BlockTelemetry {
            block: name.to_owned(),
            grad_norm: gradients.of_some(|slot| block_of(&slot.name) == name),
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

    #[test]
    fn the_ratio_is_of_the_weights() {
        let model = Preset::Small.config().with_width(0.05).with_classes(3).init(&Device::flex()).unwrap();
        let values = optim::values(&model);
        let one_block = |weight: [f32; 2], beta: f32, other: f32| {
            let array = |name: &str, first: &[f32]| {
                let length = values.slot(name).unwrap().range.len();
                let padded = first.iter().copied().chain(std::iter::repeat(0.0)).take(length);
                (name.to_owned(), padded.collect())
            };
            let arrays = [
                array("3a.conv_1x1.weight", &weight),
                array("3a.conv_1x1.norm.beta", &[beta]),
                array("3b.conv_1x1.weight", &[other]),
            ];
            values.with_arrays(&arrays.into(), 0.0)
        };
        let change = Change::between(one_block([3.0, 4.0], 1.0, 0.0), &one_block([3.0, 4.5], 9.0, 1.0)).unwrap();
        assert!((change.ratio("3a") - 0.1).abs() < 1e-6);
        assert_eq!(change.ratio("3b"), 0.0, "nothing to divide by");
    }

    #[test]
    fn blocks_come_in_forward_order_with_every_parameter() {
        let config = Preset::Caffe.config().with_width(0.1).with_classes(3);
        let model = config.init(&Device::flex()).unwrap();
        let values = optim::values(&model);
        let change = Change::between(values.clone(), &values).unwrap();
        let found = blocks(&model, &values, &Norms::of(&values).unwrap(), &change).unwrap();
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
