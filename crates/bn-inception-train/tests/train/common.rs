//! A small dataset, and runs to the end.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bn_inception::DeviceSpec;
use bn_inception_train::checkpoint::{Checkpoint, CheckpointFolder};
use bn_inception_train::data::{DrawnConfig, draw_dataset};
use bn_inception_train::{CheckpointEvery, Choices, Display, Outcome, StopSignal, TrainConfig, TrainError, Trainer};

/// Draws `[train, val]` images of each class, of `size` pixels. Returns the dataset's folder.
pub fn dataset(folder: &Path, classes: usize, [train, val]: [usize; 2], size: u32) -> PathBuf {
    let data = folder.join("data");
    let config = DrawnConfig { classes, train_per_class: train, val_per_class: val, size, seed: 1 };
    draw_dataset(&data, &config).unwrap();
    data
}

/// A run on Flex with these choices and without a display, which saves every three steps.
pub fn config(data: &Path, out: &Path, choices: Choices) -> TrainConfig {
    TrainConfig {
        data: Some(data.to_owned()),
        choices,
        device: DeviceSpec::Named { backend: "flex", index: 0 },
        workers: 1,
        checkpoint_every: CheckpointEvery::Steps(3),
        display: Display::Quiet,
        ..TrainConfig::new(out)
    }
}

/// Dropout draws from the device's one random stream, which all runs of a process share.
static DROPOUT: Mutex<()> = Mutex::new(());

pub fn train(config: TrainConfig, stop: &StopSignal) -> Result<Outcome, TrainError> {
    let trainer = Trainer::new(config, |_| ())?;
    let draws = trainer.settings().recipe()?.dropout > 0.0;
    let _alone = draws.then(|| DROPOUT.lock().unwrap_or_else(PoisonError::into_inner));
    trainer.run(stop)
}

pub fn finish(config: TrainConfig) {
    let outcome = train(config, &StopSignal::new()).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
}

/// The same run, resumed. Its settings come from the checkpoint.
pub fn resumed(config: TrainConfig) -> TrainConfig {
    TrainConfig { resume: true, choices: Choices::default(), ..config }
}

pub fn newest_checkpoint(out: &Path) -> Checkpoint {
    let folder = CheckpointFolder::of_run(out);
    let newest = folder.steps().unwrap().pop().unwrap();
    Checkpoint::load(&folder.file(newest)).unwrap()
}

/// Says on standard error that a test is skipped because `requirement` is missing, or fails it if
/// `BN_INCEPTION_REQUIRE`, a comma-separated list, names the requirement.
pub fn missing(requirement: &str, why: &str) {
    let required = std::env::var("BN_INCEPTION_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name.trim() == requirement);
    assert!(!required, "BN_INCEPTION_REQUIRE demands {requirement}: {why}");
    // Not `eprintln!`, which the test harness captures when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: no {requirement}: {why}");
}
