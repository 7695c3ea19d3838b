//! What tests of whole runs share: a small dataset, and running to the end.

#![allow(dead_code, clippy::unwrap_used)] // no test needs all of it; a failed step of the preparation is a failed test

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bn_inception_train::checkpoint::Checkpoint;
use bn_inception_train::checkpoint_folder::CheckpointFolder;
use bn_inception_train::drawn::{DrawnConfig, draw_dataset};
use bn_inception_train::{Choices, Outcome, StopSignal, TrainConfig, TrainError, Trainer};

/// Draws `[train, val]` images of each class, `size` pixels large. Returns the dataset's folder.
pub fn dataset(folder: &Path, classes: usize, [train, val]: [usize; 2], size: u32) -> PathBuf {
    let data = folder.join("data");
    let config = DrawnConfig {
        classes,
        train_per_class: train,
        val_per_class: val,
        size,
        seed: 1,
    };
    draw_dataset(&data, &config).unwrap();
    data
}

pub fn train(config: TrainConfig, stop: &StopSignal) -> Result<Outcome, TrainError> {
    Trainer::new(config, |_| ())?.run(stop)
}

pub fn finish(config: TrainConfig) {
    let outcome = train(config, &StopSignal::new()).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
}

/// The same run, resumed. Its settings come from the checkpoint.
pub fn resumed(config: TrainConfig) -> TrainConfig {
    TrainConfig {
        resume: true,
        choices: Choices::default(),
        ..config
    }
}

pub fn newest_checkpoint(out: &Path) -> Checkpoint {
    let folder = CheckpointFolder::new(out.join("checkpoints"));
    let newest = folder.steps().unwrap().pop().unwrap();
    Checkpoint::load(&folder.file(newest)).unwrap()
}

/// Says on standard error that a test is skipped for want of `requirement`, or fails it if `BN_INCEPTION_REQUIRE`, a
/// comma-separated list, names the requirement.
pub fn missing(requirement: &str, why: &str) {
    let required = std::env::var("BN_INCEPTION_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name.trim() == requirement);
    assert!(!required, "BN_INCEPTION_REQUIRE demands {requirement}: {why}");
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: no {requirement}: {why}");
}
