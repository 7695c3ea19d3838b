//! Recognition of a dataset's layout.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::listing::Listing;
use super::split::Split;
use super::{folder, ilsvrc, kaggle, shards, tree};

/// Arrangement of a dataset's images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// `DIR/train/CLASS/*` and `DIR/val/CLASS/*`.
    Folders { dir: PathBuf },
    /// Kaggle's `CLS-LOC`, and its table of validation classes.
    Kaggle { images: PathBuf, solution: Option<PathBuf> },
    /// `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar`.
    Ilsvrc { dir: PathBuf },
    /// WebDataset shards.
    Shards { dir: PathBuf },
    /// One tar archive.
    Archive { path: PathBuf },
}

impl Layout {
    /// The layout of what is at `path`.
    ///
    /// # Errors
    /// [`DatasetError`] if it has none of them.
    pub(super) fn of(path: &Path) -> Result<Self, DatasetError> {
        let found = fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => DatasetError::Missing(path.to_path_buf()),
            _ => DatasetError::Io { path: path.to_path_buf(), source },
        })?;
        let dir = path.to_path_buf();
        if !found.is_dir() {
            return Self::of_file(dir);
        }
        if let Some(images) = kaggle_images(path) {
            // CLS-LOC, Data, ILSVRC, and the folder that holds it.
            let solution = images.ancestors().take(4).chain([path]).map(|folder| folder.join(kaggle::SOLUTION));
            let solution = solution.into_iter().find(|file| file.is_file());
            return Ok(Self::Kaggle { images, solution });
        }
        if either(|split| dir.join(split.folder()).is_dir()) {
            Ok(Self::Folders { dir })
        } else if either(|split| dir.join(ilsvrc::archive_name(split)).is_file()) {
            Ok(Self::Ilsvrc { dir })
        } else if either(|split| shards::find(&dir, split).is_ok_and(|shards| !shards.is_empty())) {
            Ok(Self::Shards { dir })
        } else {
            Err(DatasetError::NoLayout(dir))
        }
    }

    fn of_file(path: PathBuf) -> Result<Self, DatasetError> {
        if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("tar")) {
            return Err(DatasetError::NotADataset(path));
        }
        let name = path.file_name();
        match path.parent() {
            Some(dir) if either(|split| name.is_some_and(|name| name == ilsvrc::archive_name(split))) => {
                Ok(Self::Ilsvrc { dir: dir.to_path_buf() })
            }
            _ => Ok(Self::Archive { path }),
        }
    }

    /// The images of a part.
    ///
    /// # Errors
    /// [`DatasetError`] if it is missing or damaged.
    pub(super) fn list(&self, split: Split) -> Result<Listing, DatasetError> {
        match self {
            Self::Folders { dir } => {
                let folder = dir.join(split.folder());
                if !folder.exists() {
                    return Err(DatasetError::NoSplit { dir: dir.clone(), split });
                }
                folder::list(&folder)
            }
            Self::Kaggle { images, solution } => kaggle::list(images, solution.as_deref(), split),
            Self::Ilsvrc { dir } => ilsvrc::list(dir, split),
            Self::Shards { dir } => shards::list(dir, split),
            Self::Archive { path } => tree::list(path, split),
        }
    }
}

/// `true` if `test` holds for either part.
fn either(test: impl Fn(Split) -> bool) -> bool {
    test(Split::Train) || test(Split::Val)
}

/// The folder `CLS-LOC` at or below `path`.
fn kaggle_images(path: &Path) -> Option<PathBuf> {
    let below = ["ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC"].map(|folder| path.join(folder));
    let itself = path.file_name().is_some_and(|name| name == "CLS-LOC").then(|| path.to_path_buf());
    below.into_iter().chain(itself).find(|folder| folder.is_dir())
}
