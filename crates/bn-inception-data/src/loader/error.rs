//! Errors of loading.

use std::path::PathBuf;

use super::broken::MAX_BROKEN_PERCENT;
use super::prefetch::WorkerPanic;
use crate::error::PreprocessError;

/// A loader that cannot be created, or cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The batch size is 0.
    #[error("the batch size must be at least 1")]
    NoBatchSize,
    /// There are fewer images than one training batch, which is never cut short.
    #[error(
        "{} holds {images} images, fewer than one batch of {batch_size}: add images, or choose a smaller batch size",
        .root.display()
    )]
    TooFewImages {
        /// The dataset's folder.
        root: PathBuf,
        /// Images in it.
        images: usize,
        /// Images in a batch.
        batch_size: usize,
    },
    /// The position to start from is beyond the epoch's end.
    #[error("cannot start at batch {batch}: an epoch has {batches}")]
    StartBeyondEpoch {
        /// The batch to start from.
        batch: usize,
        /// Batches in an epoch.
        batches: usize,
    },
    /// The preprocessing is invalid.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// An image cannot be decoded, and [`LoaderOptions::strict`](crate::LoaderOptions::strict) is set.
    #[error("{}: {reason}", .path.display())]
    Broken {
        /// The image's file.
        path: PathBuf,
        /// The decoder's error.
        reason: String,
    },
    /// More than [`MAX_BROKEN_PERCENT`] of the dataset cannot be decoded.
    #[error(
        "{broken} of {images} images are broken, more than {MAX_BROKEN_PERCENT} %; the last is {}: {reason}",
        .path.display()
    )]
    TooManyBroken {
        /// Number of different images that could not be decoded.
        broken: usize,
        /// Images in the dataset.
        images: usize,
        /// The last of them.
        path: PathBuf,
        /// The decoder's error.
        reason: String,
    },
    /// No image of a class can be decoded, so none can replace another.
    #[error("no image of class {class} can be decoded")]
    NoReadableImage {
        /// Name of the class.
        class: String,
    },
    /// A thread could not be started.
    #[error("cannot start a loader thread: {0}")]
    Threads(std::io::Error),
    /// A worker panicked.
    #[error(transparent)]
    Panicked(#[from] WorkerPanic),
}
