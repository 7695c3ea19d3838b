//! An exponential moving average of all of a model's values.

use burn::tensor::Tensor;

use super::parameters::NamedTensors;

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
    average: NamedTensors,
}

impl Ema {
    /// An average that starts at `values` and keeps `decay` of itself at each update.
    #[must_use]
    pub fn new(decay: f64, values: NamedTensors) -> Self {
        Self { decay, average: values }
    }

    /// The current average.
    #[must_use]
    pub fn average(&self) -> &NamedTensors {
        &self.average
    }

    /// True after `steps` steps if these are as many as the average is long, `1 / (1 - decay)`.
    #[must_use]
    pub fn is_settled(&self, steps: u64) -> bool {
        steps as f64 * (1.0 - self.decay) >= 1.0
    }

    /// Updates the average with the value called `name` after optimizer step `step` (counted from 0).
    pub fn update(&mut self, step: u64, name: &str, value: Tensor<1>) {
        let decay = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        if let Some((name, average)) = self.average.remove_entry(name) {
            let average = average.mul_scalar(decay) + value.mul_scalar(1.0 - decay);
            self.average.insert(name, average);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn one(value: f32) -> Tensor<1> {
        Tensor::from_data([value], &Device::flex())
    }

    fn value(ema: &Ema) -> f32 {
        ema.average()["w"].to_data().try_to_vec::<f32>().unwrap()[0]
    }

    #[test]
    fn an_average_settles_within_its_length() {
        let ema = Ema::new(0.75, NamedTensors::new());
        assert!(!ema.is_settled(3) && ema.is_settled(4));
    }

    #[test]
    fn the_decay_warms_up() {
        let mut ema = Ema::new(0.5, [("w".to_owned(), one(10.0))].into());
        ema.update(0, "w", one(0.0));
        assert!((value(&ema) - 1.0).abs() < 1e-6, "{}", value(&ema));
        ema.update(1000, "w", one(0.0));
        assert!((value(&ema) - 0.5).abs() < 1e-6, "{}", value(&ema));
    }
}
