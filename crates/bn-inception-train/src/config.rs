//! Configuration of a run.

use std::path::PathBuf;
use std::time::Duration;

use bn_inception::DeviceSpec;

use crate::display::Display;
use crate::observe::TELEMETRY_EVERY;
use crate::settings::Choices;

/// A run to start or resume.
#[derive(Debug, Clone)]
pub struct TrainConfig {
    /// Folder with `train/` and `val/`. `None` draws the embedded dataset or, for a resumed run, keeps the folder it
    /// had.
    pub data: Option<PathBuf>,
    /// Choices that determine the results of the run.
    pub choices: Choices,
    /// Output folder.
    pub out: PathBuf,
    /// Resume the run in `out`.
    pub resume: bool,
    /// Device to compute on.
    pub device: DeviceSpec,
    /// Threads that decode images.
    pub workers: usize,
    /// Stop at the first image that cannot be decoded, instead of replacing up to 1 % of them.
    pub strict: bool,
    /// Interval between two checkpoints within an epoch.
    pub checkpoint_every: CheckpointEvery,
    /// Number of checkpoints to keep, besides the best one; at least 1.
    pub keep_checkpoints: usize,
    /// Display of progress.
    pub display: Display,
    /// Address of the run's dashboard, for the display.
    pub dashboard: Option<String>,
    /// Number of optimizer steps between two telemetry records, 0 for none.
    pub telemetry_every: u64,
    /// Write TensorBoard event files, besides the run log.
    pub tensorboard: bool,
    /// The program that trains, with its version, for the run log.
    pub program: String,
    /// Git revision of its source, for the run log.
    pub revision: Option<String>,
}

impl TrainConfig {
    /// A new run into `out`, with the defaults for everything else.
    #[must_use]
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            data: None,
            choices: Choices::default(),
            out: out.into(),
            resume: false,
            device: DeviceSpec::Auto,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            strict: false,
            checkpoint_every: CheckpointEvery::default(),
            keep_checkpoints: 3,
            display: Display::default(),
            dashboard: None,
            telemetry_every: TELEMETRY_EVERY,
            tensorboard: true,
            program: concat!("bn-inception-train ", env!("CARGO_PKG_VERSION")).to_owned(),
            revision: None,
        }
    }
}

/// Interval between two checkpoints within an epoch. The end of each epoch is saved in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// In optimizer steps.
    Steps(u64),
    /// In time.
    Time(Duration),
}

impl Default for CheckpointEvery {
    /// Two minutes: the most that a crash can cost.
    fn default() -> Self {
        Self::Time(Duration::from_secs(120))
    }
}
