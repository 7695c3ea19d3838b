//! A run as a user asks for it.

use std::path::PathBuf;
use std::time::Duration;

use bn_inception::DeviceSpec;

use crate::display::Display;
use crate::observe::TELEMETRY_EVERY;
use crate::settings::Choices;

/// A run to be started or resumed.
#[derive(Debug, Clone)]
pub struct TrainConfig {
    /// Folder with `train/` and `val/`. `None` draws the embedded dataset, or, for a resumed run, takes the folder it
    /// had.
    pub data: Option<PathBuf>,
    /// Choices that determine the numbers of the run.
    pub choices: Choices,
    /// Folder for everything that comes out.
    pub out: PathBuf,
    /// Go on with the run in `out`.
    pub resume: bool,
    /// Device to compute on.
    pub device: DeviceSpec,
    /// Threads that decode images.
    pub workers: usize,
    /// Stop at the first image that cannot be decoded, instead of replacing up to 1 % of them.
    pub strict: bool,
    /// Time between two checkpoints within an epoch.
    pub checkpoint_every: CheckpointEvery,
    /// Number of checkpoints to keep, besides the best one; at least 1.
    pub keep_checkpoints: usize,
    /// Place to show progress.
    pub display: Display,
    /// Optimizer steps from one look inside the network to the next, 0 for none.
    pub telemetry_every: u64,
    /// Write TensorBoard's event files, besides the run log.
    pub tensorboard: bool,
    /// The program that trains, with its version, for the run log.
    pub program: String,
    /// Git revision of its source, for the run log.
    pub revision: Option<String>,
}

impl TrainConfig {
    /// A new run into `out`, all else by default.
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
            telemetry_every: TELEMETRY_EVERY,
            tensorboard: true,
            program: concat!("bn-inception-train ", env!("CARGO_PKG_VERSION")).to_owned(),
            revision: None,
        }
    }
}

/// Distance of two checkpoints within an epoch. The end of each epoch is saved in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// In optimizer steps.
    Steps(u64),
    /// In time.
    Time(Duration),
}

impl Default for CheckpointEvery {
    /// Two minutes: the most that a crash may cost.
    fn default() -> Self {
        Self::Time(Duration::from_secs(120))
    }
}
