//! The events of a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::picture::{FilterGrid, GradCam};
use super::ranks::RankReport;
use super::start::Start;
use super::telemetry::{SystemSample, Telemetry};
use super::validation::ValidationReport;

/// Something that happened in a run, with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A new run. Everything before it in the file is void.
    Start(Box<Start>),
    /// A run resumed from a checkpoint. Earlier lines of later steps are void.
    Resume {
        /// Steps taken up to the checkpoint.
        step: u64,
        /// Name of the device it runs on now.
        device: String,
    },
    /// One optimizer step.
    Step(StepFacts),
    /// A pass over the validation images.
    Validation(Box<ValidationReport>),
    /// Gradients, updates, parameters and activations, every [`Start::telemetry_every`] steps.
    Telemetry(Box<Telemetry>),
    /// Work and waiting of each process of a run on several, with each [`Event::Telemetry`].
    Ranks(RankReport),
    /// Processor, memory and GPUs, every few seconds.
    System(SystemSample),
    /// The first layer's filters, after a validation.
    Filters(FilterGrid),
    /// Evidence for the predicted class in some validation images, after a validation.
    GradCam(GradCam),
    /// A checkpoint on the disk.
    Checkpoint {
        /// Steps taken up to it.
        step: u64,
        /// Its file.
        path: PathBuf,
    },
    /// An image that could not be read and was replaced.
    BrokenImage {
        /// Its file.
        path: PathBuf,
        /// The decoder's error.
        reason: String,
    },
    /// Something that a person should look at. The run goes on unless the next line says otherwise.
    Warning {
        /// Steps taken.
        step: u64,
        /// Subject.
        kind: WarningKind,
        /// The warning, in one line.
        message: String,
    },
    /// The run was stopped on request and can be resumed.
    Interrupted {
        /// Steps taken.
        step: u64,
        /// Origin of the request.
        #[serde(default)]
        reason: String,
    },
    /// The run stopped on an error.
    Failed {
        /// Steps taken.
        step: u64,
        /// The error, in one line.
        error: String,
    },
    /// All steps are done and the weights are written.
    Finished {
        /// Steps taken.
        step: u64,
    },
    /// An event of a later version.
    #[serde(other)]
    Unknown,
}

/// Extent to which a line makes earlier lines void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    /// All of them.
    All,
    /// Those of later steps than this one.
    To(u64),
}

impl Rewind {
    /// True if `event`, on an earlier line, is void.
    #[must_use]
    pub fn voids(&self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::To(step) => event.step().is_some_and(|own| own > *step),
        }
    }
}

impl Event {
    /// Number of optimizer steps taken before it, for an event that belongs to a step.
    #[must_use]
    pub fn step(&self) -> Option<u64> {
        match self {
            Self::Resume { step, .. }
            | Self::Checkpoint { step, .. }
            | Self::Warning { step, .. }
            | Self::Interrupted { step, .. }
            | Self::Failed { step, .. }
            | Self::Finished { step } => Some(*step),
            Self::Step(facts) => Some(facts.step),
            Self::Validation(report) => Some(report.result.step),
            Self::Telemetry(telemetry) => Some(telemetry.step),
            Self::Ranks(ranks) => Some(ranks.step),
            Self::Filters(filters) => Some(filters.step),
            Self::GradCam(overlays) => Some(overlays.step),
            Self::Start(_) | Self::System(_) | Self::BrokenImage { .. } | Self::Unknown => None,
        }
    }

    /// The earlier lines it makes void.
    #[must_use]
    pub fn rewind(&self) -> Option<Rewind> {
        match self {
            Self::Start(_) => Some(Rewind::All),
            Self::Resume { step, .. } => Some(Rewind::To(*step)),
            _ => None,
        }
    }

    /// True if nothing follows it unless the run is resumed.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Interrupted { .. } | Self::Failed { .. } | Self::Finished { .. })
    }
}

/// The numbers of one optimizer step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepFacts {
    /// Steps taken, this one included.
    pub step: u64,
    /// Epoch under way, counted from 1.
    pub epoch: usize,
    /// Mean training loss of its images.
    pub loss: f64,
    /// Share of its images classified rightly.
    pub top1: f64,
    /// Share of its images with the right class among the first five guesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Learning rate.
    pub lr: f64,
    /// Global norm of the gradients before clipping; absent if it is not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Number of images in the batch.
    pub images: usize,
    /// Duration in seconds, waiting included.
    pub seconds: f64,
    /// Seconds spent waiting for data.
    pub wait_seconds: f64,
}

/// Subject of an [`Event::Warning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// A number of the training is not finite.
    NotFinite,
    /// A sink that fell behind or failed.
    Sink,
    /// Anything else.
    #[serde(other)]
    Other,
}
