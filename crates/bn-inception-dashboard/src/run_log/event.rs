//! What can happen in a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::picture::{FilterGrid, GradCam};
use super::start::Start;
use super::telemetry::{SystemSample, Telemetry};
use super::validation::ValidationReport;

/// Something worth a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A new run. Everything before it in the file is void.
    Start(Box<Start>),
    /// A run that goes on from a checkpoint. Lines of later steps that stand before it are void.
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
    /// What goes on inside the network, every so many steps.
    Telemetry(Box<Telemetry>),
    /// Processor, memory and GPUs, every few seconds.
    System(SystemSample),
    /// The first layer's filters, after a validation.
    Filters(FilterGrid),
    /// Where in some validation images the network sees the class it predicts, after a validation.
    GradCam(GradCam),
    /// A checkpoint was written.
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
        /// What is wrong with it.
        reason: String,
    },
    /// Something that a person should look at; the run goes on, or the next line says that it does not.
    Warning {
        /// Steps taken.
        step: u64,
        /// What it is about.
        kind: WarningKind,
        /// One line.
        message: String,
    },
    /// The run was stopped on request and can be resumed.
    Interrupted {
        /// Steps taken.
        step: u64,
        /// Who asked.
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
    /// An event of a later version of this program.
    #[serde(other)]
    Unknown,
}

/// How far a line makes earlier lines void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    /// All of them.
    All,
    /// Those of later steps than this one.
    To(u64),
}

impl Event {
    /// The optimizer steps taken when it happened, where it belongs to a step.
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
            Self::Filters(filters) => Some(filters.step),
            Self::GradCam(overlays) => Some(overlays.step),
            Self::Start(_) | Self::System(_) | Self::BrokenImage { .. } | Self::Unknown => None,
        }
    }

    /// What it makes void.
    #[must_use]
    pub fn rewind(&self) -> Option<Rewind> {
        match self {
            Self::Start(_) => Some(Rewind::All),
            Self::Resume { step, .. } => Some(Rewind::To(*step)),
            _ => None,
        }
    }

    /// Whether nothing follows it unless the run is resumed.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Interrupted { .. } | Self::Failed { .. } | Self::Finished { .. }
        )
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
    /// Global norm of the gradients, before clipping where the run clips; absent if it is not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Images it was taken on.
    pub images: usize,
    /// Seconds it took, waiting included.
    pub seconds: f64,
    /// Seconds of those spent waiting for data.
    pub wait_seconds: f64,
}

/// What a [`Event::Warning`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// A number of the training is not finite.
    NotFinite,
    /// A sink fell behind or died.
    Sink,
    /// Anything else.
    #[serde(other)]
    Other,
}
