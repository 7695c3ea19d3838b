//! An exponential moving average of all of a model's values.

use super::flat::Flat;
use super::update::{Part, Rule, update};

/// The average of a model's parameters *and* running statistics over the last steps.
///
/// Averaged weights need averaged statistics: a batch normalisation fed by averaged convolutions but normalising with
/// the latest statistics would be wrong by as much as the two differ. Averaged statistics fit only once the weights move
/// slowly against the length of the average; before [`is_settled`](Self::is_settled) they should be replaced by those of
/// the averaged network itself ([`Model::recalibrate`](bn_inception::Model::recalibrate)).
///
/// After optimizer step `s`, counted from 0, the decay is `min(decay, (1 + s) / (10 + s))`, as in TensorFlow's
/// `ExponentialMovingAverage`: with the full decay the random initial weights would dominate the average of a short run.
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    pub(super) average: Flat,
}

impl Ema {
    /// An average that starts at `values` and keeps `decay` of itself at each update.
    #[must_use]
    pub fn new(decay: f64, values: Flat) -> Self {
        Self { decay, average: values }
    }

    /// The current average.
    #[must_use]
    pub fn average(&self) -> &Flat {
        &self.average
    }

    /// True after `steps` steps if these are as many as the average is long, `1 / (1 - decay)`.
    #[must_use]
    pub fn is_settled(&self, steps: u64) -> bool {
        steps as f64 * (1.0 - self.decay) >= 1.0
    }

    /// Updates the average with a model's values after optimizer step `step` (counted from 0).
    ///
    /// # Panics
    /// If `values` are those of another network.
    pub fn update(&mut self, step: u64, mut values: Flat) {
        assert!(values.index == self.average.index, "an average of another network");
        let whole = Part { range: 0..values.len(), gradients: None, rate: 0.0, decay: 0.0, averaged: true };
        let rule = Rule { scale: 1.0, momentum: 0.0, nesterov: false, keep: self.decay_of(step) };
        let none = &mut Flat::new(Vec::new()).buffer;
        update(rule, &[whole], &mut values.buffer, none, None, Some(&mut self.average.buffer));
    }

    /// The decay in step `step`.
    pub(super) fn decay_of(&self, step: u64) -> f64 {
        self.decay.min((1 + step) as f64 / (10 + step) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};

    fn one(value: f32) -> Flat {
        Flat::new(vec![("w".to_owned(), Tensor::from_data([value], &Device::flex()))])
    }

    #[test]
    fn an_average_settles_within_its_length() {
        let ema = Ema::new(0.75, one(0.0));
        assert!(!ema.is_settled(3) && ema.is_settled(4));
    }

    #[test]
    fn the_decay_warms_up() {
        let mut ema = Ema::new(0.5, one(10.0));
        for (step, expected) in [(0, 1.0), (1000, 0.5)] {
            ema.update(step, one(0.0));
            let found = ema.average().to_vec().unwrap()[0];
            assert!((found - expected).abs() < 1e-6, "{found}");
        }
    }
}
