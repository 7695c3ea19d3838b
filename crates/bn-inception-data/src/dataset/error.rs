//! Errors of opening a dataset.

use std::fmt;
use std::path::PathBuf;

use super::archive::ArchiveError;
use super::split::Split;
use crate::files::{ListError, first_names};

/// A path that is not a dataset. Each message is one line and names the path.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Nothing is there.
    #[error("data folder {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The path is a file of another kind.
    #[error("{} is neither a folder nor a tar archive (*.tar)", .0.display())]
    NotADataset(PathBuf),
    /// The folder has none of the layouts.
    #[error(
        "{} holds no dataset: expected train/CLASS/*.jpg and val/CLASS/*.jpg, ILSVRC2012_img_train.tar and \
         ILSVRC2012_img_val.tar, ILSVRC/Data/CLS-LOC, or shards *-train-*.tar and *-val-*.tar",
        .0.display()
    )]
    NoLayout(PathBuf),
    /// A folder or file could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// `DIR` has no `train` or no `val`.
    #[error("{} has no `{split}` folder; expected {0}/{{train,val}}/CLASS/*.jpg", .dir.display())]
    NoSplit {
        /// Folder of the dataset.
        dir: PathBuf,
        /// The missing part.
        split: Split,
    },
    /// A file that the layout needs is not there.
    #[error("{} does not hold {expected}", .dir.display())]
    MissingFile {
        /// Folder of the dataset.
        dir: PathBuf,
        /// Names and purpose of the file.
        expected: String,
    },
    /// There are no class folders, so there are no classes.
    #[error("{} holds no class folders; expected one folder of images for each class", .0.display())]
    NoClasses(PathBuf),
    /// A class holds no image.
    #[error("class folder {} holds no image (JPEG, PNG, WebP, GIF, BMP or TIFF)", .0.display())]
    EmptyClass(PathBuf),
    /// An archive or shard set holds no image.
    #[error("{} holds no image of the `{split}` part; expected {expected}", .path.display())]
    NoImages {
        /// The archive or folder.
        path: PathBuf,
        /// The part that was opened.
        split: Split,
        /// Members that would be images.
        expected: &'static str,
    },
    /// An archive is damaged or cut short.
    #[error("archive {}: {source}", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The problem.
        source: ArchiveError,
    },
    /// A file of labels, or the label of one image, is wrong.
    #[error("{}: {reason}", .path.display())]
    Labels {
        /// The file, or the image within its archive.
        path: PathBuf,
        /// What was found, and what was expected.
        reason: String,
    },
    /// The two parts do not have the same classes.
    #[error("{} and {} have different classes{}{}", .train.display(), .val.display(),
        Names("only in the first", .only_in_train), Names("only in the second", .only_in_val))]
    ClassesDiffer {
        /// Place of the training images.
        train: PathBuf,
        /// Place of the validation images.
        val: PathBuf,
        /// Classes without validation images.
        only_in_train: Vec<String>,
        /// Classes without training images.
        only_in_val: Vec<String>,
    },
}

impl DatasetError {
    /// [`Self::Io`] of `path`, for `map_err`.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// [`Self::Archive`] of `path`, for `map_err`.
    pub(super) fn archive(path: impl Into<PathBuf>) -> impl FnOnce(ArchiveError) -> Self {
        let path = path.into();
        move |source| Self::Archive { path, source }
    }

    /// [`Self::Labels`] of `path`.
    pub(super) fn labels(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Labels { path: path.into(), reason: reason.into() }
    }
}

impl From<ListError> for DatasetError {
    fn from(ListError { path, source }: ListError) -> Self {
        Self::Io { path, source }
    }
}

/// `; LABEL: a, b and 7 more`, or nothing when there are no names.
struct Names<'a>(&'a str, &'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(label, names) = self;
        if names.is_empty() {
            return Ok(());
        }
        write!(f, "; {label}: {}", first_names(names))
    }
}
