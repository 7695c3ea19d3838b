//! Steps taken and results so far.

use std::collections::BTreeMap;

use bn_inception_dashboard::run_log::Validation;
use serde::{Deserialize, Serialize};

/// The part of a run's state that is not tensors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps taken.
    pub step: u64,
    /// Completed epochs.
    pub epoch: usize,
    /// Batches taken from the current epoch.
    pub batch: usize,
    /// Images trained on, including repetitions.
    pub images: u64,
    /// Seconds spent in training steps, waiting for data included; validation and checkpoints are not.
    pub train_seconds: f64,
    /// Seconds of those in which the step loop waited for the loader.
    pub wait_seconds: f64,
    /// The validation after each epoch, oldest first.
    pub validations: Vec<Validation>,
    /// Training images that could not be decoded, by index, with the decoder's reason.
    #[serde(default)]
    pub broken_train: BTreeMap<usize, String>,
    /// Validation images that could not be decoded, likewise.
    #[serde(default)]
    pub broken_val: BTreeMap<usize, String>,
    /// True once all steps are done.
    pub finished: bool,
}

impl Progress {
    /// Training images per second, or 0 before the first step.
    #[must_use]
    pub fn images_per_second(&self) -> f64 {
        ratio(self.images as f64, self.train_seconds)
    }

    /// Share of the training time spent waiting for data.
    #[must_use]
    pub fn wait_fraction(&self) -> f64 {
        ratio(self.wait_seconds, self.train_seconds)
    }

    /// The validation with the highest top-1, the earliest in a tie.
    #[must_use]
    pub fn best(&self) -> Option<&Validation> {
        self.validations.iter().reduce(|best, next| if next.top1 > best.top1 { next } else { best })
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validation(step: u64, top1: f64) -> Validation {
        Validation { step, epoch: 1, top1, top5: 1.0, loss: 1.0, images: 10, seconds: 0.1 }
    }

    #[test]
    fn the_best_is_the_first_of_the_highest() {
        let mut progress = Progress::default();
        assert_eq!(progress.best(), None);
        progress.validations = vec![validation(1, 0.5), validation(2, 0.7), validation(3, 0.7)];
        assert_eq!(progress.best().map(|best| best.step), Some(2));
    }

    #[test]
    fn nothing_trained_is_no_division_by_zero() {
        assert_eq!(Progress::default().images_per_second(), 0.0);
        assert_eq!(Progress::default().wait_fraction(), 0.0);
    }
}
