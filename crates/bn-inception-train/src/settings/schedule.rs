//! Learning-rate schedules as functions of a run's progress.
//!
//! A schedule has no step counts of its own: it maps step `s` of `total` to a factor on the recipe's base learning
//! rate. A schedule published for millions of steps can therefore be used, unchanged in shape, for a run of ten epochs.

use std::f64::consts::PI;

use serde::Serialize;

/// The shape of the learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// `rate^(decays · progress)`: exponential decay, with `decays` decays by the end of the run.
    Exponential {
        /// Factor of one decay, below 1.
        rate: f64,
        /// Number of decays in a whole run, possibly fractional.
        decays: f64,
    },
    /// A linear rise from (almost) zero, then half a cosine down to zero.
    Cosine {
        /// Share of the run, in `[0, 1)`, taken by the rise.
        warm_up: f64,
    },
}

impl Schedule {
    /// The factor on the base learning rate for optimizer step `step` (counted from 0) of `total`.
    ///
    /// Steps at or beyond `total` get the factor of the last step.
    #[must_use]
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        let total = total.max(1);
        let step = step.min(total - 1);
        match *self {
            Self::Exponential { rate, decays } => rate.powf(decays * step as f64 / total as f64),
            Self::Cosine { warm_up } => {
                let rise = (warm_up * total as f64).ceil() as u64;
                if step < rise {
                    // Step 0 already trains: a factor of zero would waste the batch.
                    (step + 1) as f64 / rise as f64
                } else {
                    let progress = (step - rise) as f64 / (total - rise) as f64;
                    0.5 * (1.0 + (PI * progress).cos())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn exponential_starts_at_one_and_ends_after_its_decays() {
        let schedule = Schedule::Exponential { rate: 0.96, decays: 10.0 };
        assert_close(schedule.factor(0, 1000), 1.0);
        assert_close(schedule.factor(500, 1000), 0.96_f64.powf(5.0));
        assert_close(schedule.factor(999, 1000), 0.96_f64.powf(9.99));
        assert_close(schedule.factor(5000, 1000), schedule.factor(999, 1000));
    }

    #[test]
    fn exponential_keeps_its_shape_for_any_length() {
        let schedule = Schedule::Exponential { rate: 0.96, decays: 40.0 };
        for (step, total) in [(1, 4), (25, 100), (250_000, 1_000_000)] {
            assert_close(schedule.factor(step, total), 0.96_f64.powf(10.0));
        }
    }

    #[test]
    fn cosine_rises_then_falls_to_zero() {
        let schedule = Schedule::Cosine { warm_up: 0.1 };
        assert_close(schedule.factor(0, 100), 0.1);
        assert_close(schedule.factor(9, 100), 1.0);
        assert_close(schedule.factor(10, 100), 1.0);
        assert_close(schedule.factor(55, 100), 0.5);
        let last = schedule.factor(99, 100);
        assert!(last > 0.0 && last < 1e-3, "{last}");
    }

    #[test]
    fn the_shortest_runs_learn() {
        for total in [0, 1, 2] {
            let factor = Schedule::Cosine { warm_up: 0.05 }.factor(0, total);
            assert!(factor > 0.0 && factor <= 1.0, "{factor} for {total} steps");
        }
    }
}
