//! Errors that prevent a run from starting, or end it.

use std::io;
use std::path::{Path, PathBuf};

use bn_inception::DeviceError;
use bn_inception::weights::WeightsError;
use bn_inception_data::DatasetError;
use bn_inception_data::LoaderError;
use bn_inception_data::drawn::DrawnError;
use burn::tensor::TensorReadError;

use crate::checkpoint::CheckpointError;
use crate::settings::SettingsError;

/// An error that prevents a run from starting, or ends it. Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An invalid choice.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A folder of images that cannot be trained on.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// An unavailable device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Weights that could not be written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A checkpoint that could not be written.
    #[error("cannot save: {0}")]
    Save(#[source] CheckpointError),
    /// A checkpoint that could not be read.
    #[error("{error}{}", older.as_ref().map_or_else(
        || "; there is no older one, start again in another --out".to_owned(),
        |older| format!("; remove it to go on from {}", older.display()),
    ))]
    Load {
        /// The error in it.
        error: CheckpointError,
        /// The newest checkpoint before it.
        older: Option<PathBuf>,
    },
    /// An intact checkpoint of another network or other data.
    #[error("checkpoint {} does not fit: {what}", path.display())]
    Misfit {
        /// The checkpoint.
        path: PathBuf,
        /// The difference.
        what: String,
    },
    /// The output folder or a file in it cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Output {
        /// Folder or file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The output folder holds a run, and resuming was not asked for.
    #[error("{} holds {} run; {}", path.display(), if *finished { "a finished" } else { "an unfinished" },
        if *finished { "choose another --out" } else { "go on with --resume, or choose another --out" })]
    OutputTaken {
        /// The folder.
        path: PathBuf,
        /// True if that run is finished.
        finished: bool,
    },
    /// Another process trains into the output folder.
    #[error("another process trains in {}: let it end, or choose another --out", path.display())]
    OutputLocked {
        /// The folder.
        path: PathBuf,
    },
    /// The output folder holds weights of another run, which would be overwritten.
    #[error("{} is in the way: choose another --out", path.display())]
    WeightsInTheWay {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to resume.
    #[error("nothing to resume: {} holds no checkpoint", path.display())]
    NothingToResume {
        /// The run's folder.
        path: PathBuf,
    },
    /// The run to resume is finished.
    #[error("the run in {} is finished, nothing is left to resume", path.display())]
    AlreadyFinished {
        /// The run's folder.
        path: PathBuf,
    },
    /// Training diverged.
    #[error("{what} is {value} at step {step} (epoch {epoch}, learning rate {lr:.6}): {}",
        last_good.as_ref().map_or_else(
            || "no checkpoint was written yet".to_owned(),
            |path| format!("the last good checkpoint is {}", path.display()),
        ))]
    NotFinite {
        /// `the loss`, or another quantity.
        what: String,
        /// NaN or an infinity.
        value: f64,
        /// The step, counted from 1.
        step: u64,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The learning rate of the step.
        lr: f64,
        /// The newest checkpoint; all its values are finite.
        last_good: Option<PathBuf>,
    },
    /// The loader stopped: too many broken images, or one with `--strict`.
    #[error(transparent)]
    Data(#[from] LoaderError),
    /// The loader ended an epoch before its last image.
    #[error("the epoch ended after {batches} of {expected} batches")]
    EpochCutShort {
        /// Batches it had.
        batches: usize,
        /// Batches it should have.
        expected: usize,
    },
    /// The embedded dataset could not be drawn.
    #[error("cannot draw the embedded images: {0}")]
    Draw(#[from] DrawnError),
    /// A process of a group that does not fit to the others.
    #[error("rank {rank} {what}")]
    Rank {
        /// Its number, from 0.
        rank: usize,
        /// `has other data …`, or another difference.
        what: String,
    },
    /// Tensors could not be read from the device.
    #[error("the device failed: {0}")]
    Readback(#[from] TensorReadError),
}

impl TrainError {
    /// [`TrainError::Output`] for `path`.
    pub(crate) fn output(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Output { path, source }
    }

    /// [`TrainError::Misfit`] of the checkpoint `path`.
    pub(crate) fn misfit(path: &Path) -> impl FnOnce(String) -> Self {
        let path = path.to_owned();
        move |what| Self::Misfit { path, what }
    }
}
