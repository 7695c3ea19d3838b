//! Work and waiting of the processes of one run.

use serde::{Deserialize, Serialize};

/// The share of each process, called rank, in one optimizer step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RankReport {
    /// Steps taken, this one included.
    pub step: u64,
    /// Duration of the step in seconds, from its start to the sum of all gradients.
    pub seconds: f64,
    /// The ranks, from 0.
    pub ranks: Vec<RankFacts>,
}

/// A rank's share in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RankFacts {
    /// Number of images.
    pub images: usize,
    /// Seconds until it had the gradients of its images, waiting for data included; then it waits for the others.
    pub seconds: f64,
    /// Seconds spent waiting for data.
    pub wait_seconds: f64,
}
