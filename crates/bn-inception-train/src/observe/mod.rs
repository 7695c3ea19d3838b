//! Looking into the network while it trains, for the run log.
//!
//! Nothing here changes the run: networks are looked at through independent copies on the plain
//! device (no batch statistics, no dropout, no random numbers), and when to look depends on the
//! step's number alone.

mod activations;
mod blocks;
pub(crate) mod encode;
mod filters;
mod grad_cam;
mod histogram;
mod machine;
mod predictions;
mod probe;

use bn_inception::Model;
use burn::tensor::TensorReadError;

use crate::run_log::{FilterGrid, GradCam, Telemetry};

pub use activations::percentile;
pub(crate) use blocks::{Change, Norms};
pub(crate) use machine::Monitor;
pub(crate) use predictions::Predictions;
pub(crate) use probe::Probe;

/// Optimizer steps from one look inside to the next, unless the user says otherwise.
pub const TELEMETRY_EVERY: u64 = 25;

/// Looks into one run's network.
pub(crate) struct Observer {
    every: u64,
    probe: Probe,
}

impl Observer {
    /// Looks at every `every`-th step (never, if that is 0) with the images of `probe`.
    pub(crate) fn new(every: u64, probe: Probe) -> Self {
        Self { every, probe }
    }

    /// Whether to look after step `step`, counted from 1. The first step is looked at, too.
    pub(crate) fn is_due(&self, step: u64) -> bool {
        self.every > 0 && (step == 1 || step.is_multiple_of(self.every))
    }

    /// The inside of `model`, a copy on the plain device, after step `step`.
    pub(crate) fn telemetry(
        &self,
        model: &Model,
        step: u64,
        norms: &Norms,
        change: &Change,
    ) -> Result<Telemetry, TensorReadError> {
        Ok(Telemetry {
            step,
            blocks: blocks::blocks(model, norms, change)?,
            activations: activations::percentiles(model, self.probe.images())?,
        })
    }

    /// The first layer of `model`.
    pub(crate) fn filters(&self, model: &Model, step: u64) -> Option<FilterGrid> {
        (self.every > 0)
            .then(|| filters::grid(model, step))
            .flatten()
    }

    /// What in the probe's images speaks for the class that `model`, on the plain device, predicts.
    pub(crate) fn grad_cam(
        &self,
        model: &Model,
        step: u64,
    ) -> Result<Option<GradCam>, TensorReadError> {
        match self.every {
            0 => Ok(None),
            _ => grad_cam::overlays(model, &self.probe, step),
        }
    }
}
