//! Telemetry of one run's network, and its schedule.

use bn_inception::{Model, Preprocess};
use bn_inception_dashboard::run_log::{FilterGrid, GradCam, Telemetry};
use bn_inception_data::ImageDataset;
use burn::tensor::{Device, TensorReadError};

use super::activations;
use super::blocks::{self, Change};
use super::filters;
use super::grad_cam;
use super::probe::Probe;
use crate::optim::{Flat, Norms};

/// Default number of optimizer steps between two telemetry records.
pub const TELEMETRY_EVERY: u64 = 25;

/// Makes the telemetry of one run's network.
pub(crate) struct Observer {
    every: u64,
    probe: Probe,
}

impl Observer {
    /// Telemetry after every `every`-th step (never, if that is 0), with images of `folder` on `device`.
    pub(crate) fn new(every: u64, folder: &ImageDataset, preprocess: &Preprocess, device: &Device) -> Self {
        let probe = if every == 0 { Probe::none() } else { Probe::new(folder, preprocess, device) };
        Self { every, probe }
    }

    /// True if step `step`, counted from 1, is followed by telemetry. The first step is, too.
    pub(crate) fn is_due(&self, step: u64) -> bool {
        self.every > 0 && (step == 1 || step.is_multiple_of(self.every))
    }

    /// Telemetry of `model`, a copy on the plain device, after step `step`, which had gradients with these `norms` and
    /// changed the values from `before` to `after`.
    pub(crate) fn telemetry(
        &self,
        model: &Model,
        step: u64,
        norms: &Norms,
        [before, after]: [Flat; 2],
    ) -> Result<Telemetry, TensorReadError> {
        let change = Change::between(before, &after)?;
        Ok(Telemetry {
            step,
            blocks: blocks::blocks(model, &after, norms, &change)?,
            activations: activations::percentiles(model, self.probe.images())?,
        })
    }

    /// The filters of the first layer of `model`.
    pub(crate) fn filters(&self, model: &Model, step: u64) -> Option<FilterGrid> {
        if self.every == 0 {
            return None;
        }
        filters::grid(model, step)
    }

    /// Evidence in the probe's images for the class that `model`, on the plain device, predicts.
    pub(crate) fn grad_cam(&self, model: &Model, step: u64) -> Result<Option<GradCam>, TensorReadError> {
        if self.every == 0 {
            return Ok(None);
        }
        grad_cam::overlays(model, &self.probe, step)
    }
}
