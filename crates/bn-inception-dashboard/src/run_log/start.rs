//! The first line of a run.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The settings and surroundings of a run. Fields that logs of schema 1 lack are read as empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// Settings that determine the run's results, by the name of their flag.
    pub settings: Map<String, Value>,
    /// Hyperparameters of the recipe: learning rate, schedule, optimizer and so on.
    pub recipe: Map<String, Value>,
    /// Seed of everything random.
    pub seed: u64,
    /// Name and version of the program.
    pub program: String,
    /// Versions of the crates that affect the results, by name.
    pub versions: BTreeMap<String, String>,
    /// Git revision of the source, followed by `+` if the source had been changed.
    pub revision: Option<String>,
    /// Command line, the program's name first.
    pub command: Vec<String>,
    /// Name of the device it runs on.
    pub device: String,
    /// Optimizer steps to take.
    pub total_steps: u64,
    /// Epochs to begin.
    pub total_epochs: usize,
    /// Number of training images in an epoch.
    pub train_images: usize,
    /// Number of validation images.
    pub val_images: usize,
    /// Hash over the names of classes and files, which identifies the dataset.
    pub dataset: String,
    /// Class labels in the order of the logits.
    pub labels: Vec<String>,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Optimizer steps from one [`Event::Telemetry`](super::Event::Telemetry) to the next, 0 for none.
    pub telemetry_every: u64,
}

impl Start {
    /// The start of `program` (name and version), built from git revision `revision` with crates of these `versions`,
    /// with this process's command line. All else is empty.
    #[must_use]
    pub fn of_program(program: String, revision: Option<String>, versions: &[(&str, &str)]) -> Self {
        let versions = versions.iter();
        let versions = versions.map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
        Self {
            program,
            revision,
            versions: versions.collect(),
            command: without_tokens(std::env::args_os()),
            ..Self::default()
        }
    }
}

/// Arguments as text, with an ellipsis for the value of each flag whose name ends in `token`: logs are passed around,
/// secrets are not.
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
}
