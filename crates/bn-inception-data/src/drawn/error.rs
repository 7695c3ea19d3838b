//! Errors of drawing.

use std::io;
use std::path::{Path, PathBuf};

/// A dataset that could not be drawn or reused. Files that were on disk before are unchanged.
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
    /// The folder holds something else.
    #[error(
        "{dir} holds something other than a drawn dataset (no readable manifest.json); choose an empty or new folder"
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
    #[error("{dir} is damaged: {class} has {found} of {expected} images; delete the folder to have it drawn again")]
    Damaged {
        /// The dataset's folder.
        dir: PathBuf,
        /// Split and class, such as `train/brick-disc`.
        class: String,
        /// Number of files that are present and not empty.
        found: usize,
        /// Number of files drawn.
        expected: usize,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An image cannot be encoded as JPEG.
    #[error("{path}: cannot encode the image: {source}")]
    Encode {
        /// The file to be written.
        path: PathBuf,
        /// The cause.
        source: image::ImageError,
    },
}

impl DrawnError {
    /// Names the path in an I/O error.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
