//! Why drawing may fail.

use super::MANIFEST;
use std::io;
use std::path::{Path, PathBuf};

/// Why a dataset could not be drawn or reused. Nothing that was on disk before has been changed.
#[derive(Debug, thiserror::Error)]
pub enum DrawnError {
    /// A field of the configuration is out of its range.
    #[error("drawn dataset: {field} is {found}, but must be {least} to {most}")]
    OutOfRange {
        /// The field of [`DrawnConfig`](super::DrawnConfig).
        field: &'static str,
        /// Its value.
        found: usize,
        /// The least value allowed.
        least: usize,
        /// The greatest value allowed.
        most: usize,
    },
    /// The folder is in use for something else.
    #[error(
        "{dir} holds something other than a drawn dataset (no readable {MANIFEST}); choose an empty or new folder"
    )]
    Occupied {
        /// The folder, or the file in its place.
        dir: PathBuf,
    },
    /// The folder holds a drawn dataset of another configuration or drawing version.
    #[error(
        "{dir} holds another drawn dataset ({found}), not the one asked for ({expected}); choose another folder or delete it"
    )]
    Different {
        /// The folder.
        dir: PathBuf,
        /// Its manifest, as compact JSON.
        found: String,
        /// The manifest that was asked for.
        expected: String,
    },
    /// The manifest is right, but files have gone missing or empty since.
    #[error(
        "{dir} is damaged: {class} has {found} of {expected} images; delete the folder to have it drawn again"
    )]
    Damaged {
        /// The dataset's folder.
        dir: PathBuf,
        /// Split and class, such as `train/brick-disc`.
        class: String,
        /// Files that are present and not empty.
        found: usize,
        /// Files that were drawn.
        expected: usize,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The JPEG encoder refused.
    #[error("{path}: cannot encode the image: {source}")]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// The cause.
        source: image::ImageError,
    },
}

impl DrawnError {
    /// Names the path in an I/O error.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
