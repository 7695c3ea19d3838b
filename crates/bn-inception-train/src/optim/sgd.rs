//! Stochastic gradient descent with momentum.
//!
//! Not Burn's, for three reasons. Burn's optimizer state is loaded onto the *default* device, which in a build with
//! several backends may not exist (a run trained on the CPU could not be resumed on a machine without the GPU); it is
//! keyed by `ParamId`, which changes with every process; and its momentum is dampened by default. This one keeps its
//! velocity under the parameters' names, on the gradients' device.

use bn_inception::{Model, TensorRole};
use burn::tensor::Tensor;
use serde::Serialize;

use super::parameters::{NamedTensors, update};

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

/// The optimizer: its settings and the velocity of each parameter.
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    velocity: NamedTensors,
}

impl Sgd {
    /// An optimizer without velocity yet.
    #[must_use]
    pub fn new(config: SgdConfig) -> Self {
        Self::with_velocity(config, NamedTensors::new())
    }

    /// An optimizer that continues with the `velocity` returned by [`velocity`](Self::velocity).
    #[must_use]
    pub fn with_velocity(config: SgdConfig, velocity: NamedTensors) -> Self {
        Self { config, velocity }
    }

    /// The velocity of each parameter stepped so far.
    #[must_use]
    pub fn velocity(&self) -> &NamedTensors {
        &self.velocity
    }

    /// `model` after one step with learning rate `rate`. Parameters without a gradient stay as they are.
    #[must_use]
    pub fn step(&mut self, model: Model, rate: f64, mut gradients: NamedTensors) -> Model {
        update(model, |name, value| {
            let gradient = gradients.remove(name)?;
            Some(self.update(name, rate, value, gradient))
        })
    }

    /// The parameter called `name` after one step from `value` with learning rate `rate`.
    #[must_use]
    pub fn update(&mut self, name: &str, rate: f64, value: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let delta = self.delta(name, &value, gradient);
        value - delta.mul_scalar(rate)
    }

    fn delta(&mut self, name: &str, value: &Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let SgdConfig { momentum, nesterov, weight_decay, decay_scope } = self.config;
        let decays = match decay_scope {
            DecayScope::Everything => true,
            DecayScope::Weights => TensorRole::of(name) == TensorRole::Weight,
        };
        let gradient =
            if decays && weight_decay != 0.0 { gradient + value.clone().mul_scalar(weight_decay) } else { gradient };
        if momentum == 0.0 {
            return gradient;
        }
        // As in PyTorch the first velocity is the gradient itself.
        let velocity = match self.velocity.remove(name) {
            Some(velocity) => velocity.mul_scalar(momentum) + gradient.clone(),
            None => gradient.clone(),
        };
        self.velocity.insert(name.to_owned(), velocity.clone());
        if nesterov { gradient + velocity.mul_scalar(momentum) } else { velocity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    const CONFIG: SgdConfig =
        SgdConfig { momentum: 0.5, nesterov: false, weight_decay: 0.0, decay_scope: DecayScope::Everything };

    fn one(value: f32) -> Tensor<1> {
        Tensor::from_data([value], &Device::flex())
    }

    /// Two steps of one parameter with gradient 1, from the value 2.
    fn two_steps(config: SgdConfig, path: &str) -> f32 {
        let mut sgd = Sgd::new(config);
        let mut value = one(2.0);
        for _ in 0..2 {
            value = sgd.update(path, 0.1, value, one(1.0));
        }
        value.into_scalar::<f32>()
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
        let vector = |value: &serde_json::Value| {
            let numbers: Vec<f32> = serde_json::from_value(value.clone()).unwrap();
            Tensor::<1>::from_data(numbers.as_slice(), &Device::flex())
        };
        let close = |found: &Tensor<1>, expected: Tensor<1>, what: &str| {
            let difference = (found.clone() - expected).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-6, "{what} differs by {difference}");
        };
        let mut sgd = Sgd::new(SgdConfig {
            momentum: number("momentum"),
            nesterov: false,
            weight_decay: number("weight_decay"),
            decay_scope: DecayScope::Everything,
        });
        let mut value = vector(&fixture["start"]);
        for step in fixture["steps"].as_array().unwrap() {
            let gradient = vector(&step["gradient"]);
            value = sgd.update("weight", number("lr"), value, gradient);
            close(&value, vector(&step["w"]), "weight");
            let velocity = &sgd.velocity()["weight"];
            close(velocity, vector(&step["velocity"]), "velocity");
        }
    }
}
