//! What the step loop tells the console, beyond burn-train's metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::progress::Validation;

/// The state of a run as of its last step. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Reading>>);

/// See [`Meter`].
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Steps taken in all.
    pub step: u64,
    /// Steps that the whole run has.
    pub total_steps: u64,
    /// Steps taken since the process started.
    pub steps_here: u64,
    /// Epoch under way, counted from 1.
    pub epoch: usize,
    /// Epochs that the whole run has.
    pub total_epochs: usize,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Images trained on since the process started.
    pub images: u64,
    /// Seconds in training steps since the process started.
    pub train_seconds: f64,
    /// Seconds of those spent waiting for data.
    pub wait_seconds: f64,
    /// The last finished validation.
    pub validation: Option<Validation>,
}

impl Meter {
    /// Changes the reading.
    pub fn update(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.lock());
    }

    /// A copy of the reading.
    #[must_use]
    pub fn read(&self) -> Reading {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        // A reading is whole after every update, so one that a panicking thread held is too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
