//! Stochastic gradient descent with momentum.
//!
//! Not Burn's, for three reasons. Burn's optimizer state is loaded onto the *default* device, which in a build with
//! several backends may not exist (a run trained on the CPU could not be resumed on a machine without the GPU); it is
//! keyed by `ParamId`, which changes with every process; and its momentum is dampened by default. This one keeps its
//! velocity under the parameters' names, on the network's device.

use std::collections::BTreeMap;

use bn_inception::{Model, Normalization, TensorRole};
use burn::module::Module as _;
use burn::tensor::TensorReadError;
use serde::Serialize;

use super::ema::Ema;
use super::flat::{Flat, Slot};
use super::muon::{self, Factors, Filters};
use super::parameters::{replace_some, values};
use super::update::{Part, Rule, update};

/// Settings of [`Sgd`]: the update rule of PyTorch's `SGD` with dampening 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SgdConfig {
    /// Share of the velocity kept from one step to the next, in `[0, 1)`.
    pub momentum: f64,
    /// Nesterov's look-ahead instead of the plain velocity.
    pub nesterov: bool,
    /// L2 coefficient, added to the gradient before the momentum ("coupled").
    pub weight_decay: f64,
    /// Parameters that the L2 term applies to.
    pub decay_scope: DecayScope,
    /// Momentum, in `[0, 1)`, of the filters that batch normalisation follows, if their updates are to be orthogonal
    /// (Muon: Jordan et al. 2024). Their learning rate is then about the angle, in radians, that a step turns them by;
    /// they have a constant norm and no L2 term. `None` updates them like all other parameters.
    pub muon: Option<f64>,
}

/// Parameters that L2 regularisation applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DecayScope {
    /// All parameters.
    Everything,
    /// Convolution and classifier weights only: no bias, γ or β.
    Weights,
}

/// Velocity of a parameter that has not been stepped yet. As in PyTorch its first velocity is the gradient itself, and
/// this, unlike +0, leaves all numbers that are added to it as they are.
const AT_REST: f32 = -0.0;

/// The optimizer: its settings and the velocity of each parameter.
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    /// Velocity of every value of the network; `None` before the first step and without momentum.
    velocity: Option<Flat>,
}

impl Sgd {
    /// An optimizer without velocity yet.
    #[must_use]
    pub fn new(config: SgdConfig) -> Self {
        Self { config, velocity: None }
    }

    /// An optimizer of the network with these [`values`] that continues with the `velocity` that
    /// [`velocity`](Self::velocity) returned.
    ///
    /// # Panics
    /// If a velocity has another length than its parameter.
    #[must_use]
    pub fn with_velocity(config: SgdConfig, values: &Flat, velocity: &BTreeMap<String, Vec<f32>>) -> Self {
        let moves = (config.momentum != 0.0 || config.muon.is_some()) && !velocity.is_empty();
        Self { config, velocity: moves.then(|| values.with_arrays(velocity, AT_REST)) }
    }

    /// The velocity of each parameter stepped so far, copied to the host.
    ///
    /// # Errors
    /// [`TensorReadError`] if the device cannot be read.
    pub fn velocity(&self) -> Result<BTreeMap<String, Vec<f32>>, TensorReadError> {
        let mut velocity = self.velocity.as_ref().map_or(Ok(BTreeMap::new()), Flat::to_arrays)?;
        velocity.retain(|_, values| values.iter().any(|value| value.to_bits() != AT_REST.to_bits()));
        Ok(velocity)
    }

    /// `model` after one step with learning rate `rate`. Parameters without a gradient stay as they are.
    ///
    /// # Panics
    /// If the gradients, or those of the step before, are of another network.
    #[must_use]
    pub fn step(&mut self, model: Model, rate: f64, gradients: Flat) -> Model {
        self.step_with(model, gradients, 1.0, |_| rate, None).0
    }

    /// [`Self::step`] with the gradients times `scale`, and for each parameter the `rate` of its name. In the same pass,
    /// the average is updated after the step of the given number, except in the frozen part. Returns the model's values,
    /// too.
    pub(crate) fn step_with(
        &mut self,
        model: Model,
        mut gradients: Flat,
        scale: f64,
        rate: impl Fn(&str) -> f64,
        average: Option<(&mut Ema, u64)>,
    ) -> (Model, Flat) {
        let mut values = values(&model);
        let part = |slot: &Slot| Part {
            range: slot.range.clone(),
            gradients: gradients.slot(&slot.name).map(|gradient| gradient.range.clone()),
            rate: rate(&slot.name),
            decay: self.decay(slot),
            // Averaging equal numbers would round them.
            averaged: !model.is_frozen(&slot.name),
        };
        let mut parts: Vec<_> = values.index().iter().map(part).collect();
        self.update_filters(&model, &mut parts, scale, &mut values, &mut gradients);
        self.update(parts, scale, &mut values, &mut gradients, average);
        let model = replace_some(model, &values, |slot| gradients.slot(&slot.name).is_some());
        (model, values)
    }

    /// Muon's step of the filters, if the settings ask for it. What remains for [`Self::update`] is their average.
    fn update_filters(
        &mut self,
        model: &Model,
        parts: &mut [Part],
        scale: f64,
        values: &mut Flat,
        gradients: &mut Flat,
    ) {
        let normalized = matches!(model.config().normalization, Normalization::Batch { .. });
        let Some(momentum) = self.config.muon.filter(|_| normalized) else {
            return;
        };
        let shapes = model.config().tensors();
        let mut filters = Vec::new();
        for (slot, part) in values.index().iter().zip(parts) {
            if let Some([rows, _, _, _]) = shapes.get(&slot.name).map(Vec::as_slice)
                && let Some(gradients) = part.gradients.take()
            {
                filters.push(Filters { range: part.range.clone(), gradients, rows: *rows, rate: part.rate });
            }
        }
        let velocity = self.velocity.get_or_insert_with(|| values.with_arrays(&BTreeMap::new(), AT_REST));
        let device = model.devices().swap_remove(0).inner();
        let factors = Factors { scale, momentum };
        let buffers = [&mut values.buffer, &mut gradients.buffer, &mut velocity.buffer];
        muon::update(&filters, factors, buffers, &device);
    }

    fn update(
        &mut self,
        mut parts: Vec<Part>,
        scale: f64,
        values: &mut Flat,
        gradients: &mut Flat,
        average: Option<(&mut Ema, u64)>,
    ) {
        let SgdConfig { momentum, nesterov, .. } = self.config;
        let mut rule = Rule { scale, momentum, nesterov, keep: 0.0 };
        let average = average.map(|(ema, step)| {
            assert!(values.index == ema.average.index, "an average of another network");
            rule.keep = ema.decay_of(step);
            &mut ema.average.buffer
        });
        if momentum != 0.0 && self.velocity.is_none() {
            self.velocity = Some(values.with_arrays(&BTreeMap::new(), AT_REST));
        }
        let velocity = self.velocity.as_mut().map(|velocity| {
            assert!(values.index == velocity.index, "the velocity of another network");
            &mut velocity.buffer
        });
        parts.dedup_by(|next, last| last.extend(next));
        update(rule, &parts, &mut values.buffer, &mut gradients.buffer, velocity, average);
    }

    fn decay(&self, slot: &Slot) -> f64 {
        match self.config.decay_scope {
            DecayScope::Weights if slot.role != TensorRole::Weight => 0.0,
            DecayScope::Weights | DecayScope::Everything => self.config.weight_decay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::parameters;
    use bn_inception::Preset;
    use burn::tensor::{Device, Tensor};

    const CONFIG: SgdConfig = SgdConfig {
        momentum: 0.5,
        nesterov: false,
        weight_decay: 0.0,
        decay_scope: DecayScope::Everything,
        muon: None,
    };

    fn flat(name: &str, values: &[f32]) -> Flat {
        Flat::new(vec![(name.to_owned(), Tensor::from_data(values, &Device::flex()))])
    }

    /// One step of the only tensor.
    fn step(sgd: &mut Sgd, rate: f64, values: &mut Flat, mut gradients: Flat) {
        let slot = &values.index()[0];
        let range = || slot.range.clone();
        let part = Part { range: range(), gradients: Some(range()), rate, decay: sgd.decay(slot), averaged: false };
        sgd.update(vec![part], 1.0, values, &mut gradients, None);
    }

    /// Two steps of one parameter with gradient 1, from the value 2.
    fn two_steps(config: SgdConfig, path: &str) -> f32 {
        let mut sgd = Sgd::new(config);
        let mut value = flat(path, &[2.0]);
        for _ in 0..2 {
            step(&mut sgd, 0.1, &mut value, flat(path, &[1.0]));
        }
        value.to_vec().unwrap()[0]
    }

    #[test]
    fn updates_follow_the_rule() {
        let nesterov = SgdConfig { nesterov: true, ..CONFIG };
        let decay = SgdConfig { momentum: 0.0, weight_decay: 0.5, ..CONFIG };
        let weights = SgdConfig { decay_scope: DecayScope::Weights, ..decay };
        let cases = [
            // velocity 1, then 1.5
            (CONFIG, "weight", 2.0 - 0.1 - 0.15),
            // 1 + 0.5, then 1 + 0.75
            (nesterov, "weight", 2.0 - 0.15 - 0.175),
            // 1 + 0.5 * 2 = 2, then 1 + 0.5 * 1.8 = 1.9
            (decay, "gamma", 2.0 - 0.2 - 0.19),
            (weights, "weight", 2.0 - 0.2 - 0.19),
            (weights, "gamma", 2.0 - 0.1 - 0.1),
        ];
        for (config, path, expected) in cases {
            let found = two_steps(config, path);
            assert!((found - expected).abs() < 1e-6, "{config:?}: {found}, not {expected}");
        }
    }

    /// The same numbers as PyTorch's `SGD`, from the fixture beside the network's own.
    #[test]
    fn agrees_with_pytorch() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../bn-inception/tests/fixtures/parity/optim.json");
        let fixture: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let fixture = &fixture["sgd"];
        let number = |name: &str| fixture[name].as_f64().unwrap();
        let vector = |value: &serde_json::Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };
        let close = |found: &[f32], expected: &serde_json::Value, what: &str| {
            for (found, expected) in found.iter().zip(vector(expected)) {
                assert!((found - expected).abs() < 1e-6, "{what}: {found} is not {expected}");
            }
        };
        let mut sgd = Sgd::new(SgdConfig {
            momentum: number("momentum"),
            nesterov: false,
            weight_decay: number("weight_decay"),
            decay_scope: DecayScope::Everything,
            muon: None,
        });
        let mut value = flat("weight", &vector(&fixture["start"]));
        for facts in fixture["steps"].as_array().unwrap() {
            step(&mut sgd, number("lr"), &mut value, flat("weight", &vector(&facts["gradient"])));
            close(&value.to_vec().unwrap(), &facts["w"], "weight");
            close(&sgd.velocity().unwrap()["weight"], &facts["velocity"], "velocity");
        }
    }

    #[test]
    fn an_optimizer_continues_with_its_velocity() {
        let mut sgd = Sgd::new(CONFIG);
        let mut value = flat("weight", &[2.0, -1.0]);
        assert!(sgd.velocity().unwrap().is_empty());
        step(&mut sgd, 0.1, &mut value, flat("weight", &[1.0, -0.0]));
        let mut resumed = Sgd::with_velocity(CONFIG, &value, &sgd.velocity().unwrap());
        let mut again = value.clone();
        step(&mut sgd, 0.1, &mut value, flat("weight", &[0.3, 0.2]));
        step(&mut resumed, 0.1, &mut again, flat("weight", &[0.3, 0.2]));
        assert_eq!(again.to_vec().unwrap(), value.to_vec().unwrap());
    }

    #[test]
    fn muon_steps_the_filters_before_batch_normalisation_only() {
        let device = Device::flex().autodiff();
        let small = Preset::Small.config().with_width(0.05).with_classes(3);
        let plain = SgdConfig { nesterov: true, weight_decay: 1e-3, ..CONFIG };
        for (config, turned) in [(small.clone(), true), (small.with_normalization(Normalization::LocalResponse), false)]
        {
            let after = |muon| {
                let model = config.init_seeded(&device, 1).unwrap();
                let loss = model.forward(Tensor::<4>::ones([2, 3, 28, 28], &device)).square().sum();
                let gradients = parameters::gradients(&model, loss.backward());
                let model = Sgd::new(SgdConfig { muon, ..plain }).step(model, 0.01, gradients);
                values(&model).to_arrays().unwrap()
            };
            let (plain, muon) = (after(None), after(Some(0.6)));
            for (name, shape) in config.tensors() {
                let filters = turned && shape.len() == 4;
                assert_eq!(plain[&name] != muon[&name], filters, "{name}");
                if filters {
                    let norm = muon[&name].iter().map(|value| value * value).sum::<f32>().sqrt();
                    let unit = (shape[0] as f32).sqrt();
                    assert!((norm / unit - 1.0).abs() < 0.02, "{name}: {norm}, not {unit}");
                }
            }
        }
    }
}
