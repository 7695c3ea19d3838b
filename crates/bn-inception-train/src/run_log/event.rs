//! What can happen in a run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::picture::{FilterGrid, GradCam};
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

/// What a run was started with. Fields that logs of schema 1 lack are empty when such a log is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// The choices that determine its numbers, by the name of their flag.
    pub settings: Map<String, Value>,
    /// What the recipe stands for: learning rate, schedule, optimizer and so on.
    pub recipe: Map<String, Value>,
    /// Seed of everything random.
    pub seed: u64,
    /// The program, with its version.
    pub program: String,
    /// Version of each crate that shapes the numbers, by name.
    pub versions: BTreeMap<String, String>,
    /// Git revision of the source, `+` behind it if the source had been changed.
    pub revision: Option<String>,
    /// The command line, the program's name first.
    pub command: Vec<String>,
    /// Name of the device it runs on.
    pub device: String,
    /// Optimizer steps it will take.
    pub total_steps: u64,
    /// Epochs it will begin.
    pub total_epochs: usize,
    /// Training images of an epoch.
    pub train_images: usize,
    /// Validation images.
    pub val_images: usize,
    /// Hash over the names of classes and files; another dataset has another one.
    pub dataset: String,
    /// Class labels in the order of the logits.
    pub labels: Vec<String>,
    /// Trainable parameters of the network.
    pub parameters: usize,
    /// Optimizer steps from one [`Event::Telemetry`] to the next, 0 for none.
    pub telemetry_every: u64,
}

/// What the workspace pins; Burn itself does not tell.
const BURN_VERSION: &str = "0.22.1";

impl Start {
    /// A start of `program` (name and version), built from git revision `revision`, as the process was called;
    /// all else empty.
    #[must_use]
    pub fn of_program(program: String, revision: Option<String>) -> Self {
        // Our crates all have the same version.
        let versions = [
            ("bn-inception", env!("CARGO_PKG_VERSION")),
            ("burn", BURN_VERSION),
        ];
        let versions = versions.into_iter();
        Self {
            program,
            revision,
            versions: versions
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .collect(),
            command: without_tokens(std::env::args_os()),
            ..Self::default()
        }
    }
}

/// Arguments as text, with an ellipsis for the value of each flag whose name ends in `token`: the log goes to places that
/// a secret does not.
fn without_tokens(arguments: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut secret = false;
    let arguments = arguments.map(|argument| {
        let argument = argument.to_string_lossy().into_owned();
        let (name, has_value) = match argument.split_once('=') {
            Some((name, _)) => (name, true),
            None => (argument.as_str(), false),
        };
        let names_token = name.starts_with("--") && name.ends_with("token");
        if std::mem::replace(&mut secret, names_token && !has_value) {
            "…".to_owned()
        } else if names_token && has_value {
            format!("{name}=…")
        } else {
            argument
        }
    });
    arguments.collect()
}

/// The numbers of one optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_out_of_the_log() {
        let command = "train --out x --dashboard-token secret --token=secret --tokens secret";
        let kept = without_tokens(command.split(' ').map(Into::into));
        let expected = "train --out x --dashboard-token … --token=… --tokens secret";
        assert_eq!(kept.join(" "), expected);
    }

    #[test]
    fn burn_is_the_one_that_is_pinned() {
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        let manifest = std::fs::read_to_string(workspace).unwrap();
        let pinned = format!("burn = {{ version = \"={BURN_VERSION}\"");
        assert!(manifest.contains(&pinned), "{pinned}");
    }
}
