//! The first line of a run.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
