//! Datasets in folders, one per class: `DIR/{train,val}/CLASS/…`, the layout of ImageNet.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::files::{FileList, ListError, entries, first_names, name_of};

/// The two parts of a dataset folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// `DIR/train`: training images.
    Train,
    /// `DIR/val`: validation images.
    Val,
}

impl Split {
    /// Name of the folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}

/// A folder that is not a dataset. Each message is one line and names the path.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder does not exist.
    #[error("data folder {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The path is a file.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// A folder or file could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// `DIR` has no `train` or no `val`.
    #[error("{} has no `{}` folder; expected {0}/{{train,val}}/CLASS/*.jpg", .dir.display(), .split.folder())]
    NoSplit {
        /// Folder of the dataset.
        dir: PathBuf,
        /// The missing part.
        split: Split,
    },
    /// The folder has no subfolders, so there are no classes.
    #[error("{} holds no class folders; expected one folder of images for each class", .0.display())]
    NoClasses(PathBuf),
    /// A class folder holds no image.
    #[error("class folder {} holds no image (JPEG, PNG, WebP, GIF, BMP or TIFF)", .0.display())]
    EmptyClass(PathBuf),
    /// The two parts do not have the same classes.
    #[error("{} and {} have different classes{}{}", .train.display(), .val.display(),
        Names("only in the first", .only_in_train), Names("only in the second", .only_in_val))]
    ClassesDiffer {
        /// Folder of the training images.
        train: PathBuf,
        /// Folder of the validation images.
        val: PathBuf,
        /// Classes without validation images.
        only_in_train: Vec<String>,
        /// Classes without training images.
        only_in_val: Vec<String>,
    },
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

/// Hash of the names of classes and images of `folders`, 16 hexadecimal digits: the same for the same names in the same
/// order, wherever the folders are. The contents of files are not included.
#[must_use]
pub fn fingerprint<'a>(folders: impl IntoIterator<Item = &'a ImageFolder>) -> String {
    let mut hash = Sha256::new();
    for folder in folders {
        for index in 0..folder.len() {
            folder.hash(index, &mut hash);
        }
    }
    hexadecimal(hash)
}

/// The first 16 digits of a hash.
fn hexadecimal(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// File and class of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    /// Path below the dataset's folder; ImageNet has 1.3 million of them.
    file: Box<Path>,
    class: u32,
}

/// The images below one folder, as a list of paths; no image is opened.
///
/// Classes are numbered in the order of their names and images are sorted by path, so that an index means the same on
/// every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFolder {
    root: PathBuf,
    classes: Vec<String>,
    samples: Vec<Sample>,
    left_out: Vec<PathBuf>,
}

impl ImageFolder {
    /// Lists `root/CLASS/**`: every folder in `root` is a class, every image at any depth below it one of its samples.
    /// Files called `.jpg`, `.jpeg` or `.png` count as images, and any other whose first bytes are those of one. Names
    /// that start with a dot are skipped; what else is there is [left out](Self::left_out).
    ///
    /// # Errors
    /// [`FolderError`] if `root` is missing, is no folder, cannot be read or has no class folders, or a class has no
    /// images.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, FolderError> {
        let root = root.as_ref().to_path_buf();
        check_folder(&root)?;
        let (folders, mut left_out): (Vec<_>, Vec<_>) = entries(&root)?.into_iter().partition(|entry| entry.is_dir());
        let mut classes: Vec<_> = folders.iter().map(|folder| name_of(folder)).collect();
        if classes.is_empty() {
            return Err(FolderError::NoClasses(root));
        }
        classes.sort();
        let mut samples = Vec::new();
        for (class, name) in classes.iter().enumerate() {
            let folder = root.join(name);
            let FileList { images, arrays, others } = FileList::below(&folder)?;
            if images.is_empty() {
                return Err(FolderError::EmptyClass(folder));
            }
            samples.extend(
                images
                    .iter()
                    .map(|file| Sample { file: file.strip_prefix(&root).unwrap_or(file).into(), class: class as u32 }),
            );
            left_out.extend(arrays.into_iter().chain(others));
        }
        left_out.sort();
        Ok(Self { root, classes, samples, left_out })
    }

    /// Opens `dir/train` or `dir/val`.
    ///
    /// # Errors
    /// As for [`ImageFolder::open`], and [`FolderError::NoSplit`] if `dir` exists but the part does not.
    pub fn open_split(dir: impl AsRef<Path>, split: Split) -> Result<Self, FolderError> {
        let dir = dir.as_ref();
        let folder = dir.join(split.folder());
        check_folder(dir)?;
        if !folder.exists() {
            return Err(FolderError::NoSplit { dir: dir.to_path_buf(), split });
        }
        Self::open(folder)
    }

    /// Opens the validation images of `dir`: `dir/val`, or `dir` itself if that holds the classes.
    ///
    /// # Errors
    /// As for [`ImageFolder::open_split`]; a `dir` with a `train` folder but no `val` has no such split.
    pub fn open_validation(dir: impl AsRef<Path>) -> Result<Self, FolderError> {
        let dir = dir.as_ref();
        let is_split = |split: Split| dir.join(split.folder()).is_dir();
        if is_split(Split::Val) || is_split(Split::Train) { Self::open_split(dir, Split::Val) } else { Self::open(dir) }
    }

    /// Checks that `val` has exactly the classes of `self`, so that class indices mean the same.
    ///
    /// # Errors
    /// [`FolderError::ClassesDiffer`] with the names that only one of them has.
    pub fn check_same_classes(&self, val: &Self) -> Result<(), FolderError> {
        let missing_in = |there: &Self, here: &Self| -> Vec<String> {
            let absent = |c: &&String| there.classes.binary_search(c).is_err();
            here.classes.iter().filter(absent).cloned().collect()
        };
        let only_in_train = missing_in(val, self);
        let only_in_val = missing_in(self, val);
        if only_in_train.is_empty() && only_in_val.is_empty() {
            return Ok(());
        }
        Err(FolderError::ClassesDiffer { train: self.root.clone(), val: val.root.clone(), only_in_train, only_in_val })
    }

    /// The folder that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names of the classes, in the order of their indices.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Files that are no samples, in the order of their paths: those that are no images, and any beside the class
    /// folders.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// Number of images; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Path of image `index`.
    ///
    /// # Panics
    /// If `index` is not below [`ImageFolder::len`].
    pub fn path(&self, index: usize) -> PathBuf {
        self.root.join(&self.samples[index].file)
    }

    /// Path of image `index` relative to [`ImageFolder::root`], with `/` between its parts.
    ///
    /// # Panics
    /// If `index` is not below [`ImageFolder::len`].
    pub fn name(&self, index: usize) -> String {
        let parts = self.samples[index].file.iter();
        let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }

    /// The [`fingerprint`] of the images of each class, in the order of the classes: it tells which one has changed.
    #[must_use]
    pub fn class_fingerprints(&self) -> Vec<String> {
        let mut hashes = vec![Sha256::new(); self.classes.len()];
        for (index, sample) in self.samples.iter().enumerate() {
            self.hash(index, &mut hashes[sample.class as usize]);
        }
        hashes.into_iter().map(hexadecimal).collect()
    }

    /// Adds class and name of image `index` to `hash`.
    fn hash(&self, index: usize, hash: &mut Sha256) {
        hash.update(self.samples[index].class.to_le_bytes());
        hash.update(self.name(index));
        hash.update([0]);
    }

    /// Class index of image `index`.
    ///
    /// # Panics
    /// If `index` is not below [`ImageFolder::len`].
    pub fn class(&self, index: usize) -> usize {
        self.samples[index].class as usize
    }

    /// Indices of the other images of the same class: those after `index`, then, from the first, those before it.
    ///
    /// # Panics
    /// If `index` is not below [`ImageFolder::len`].
    pub fn others_of_class(&self, index: usize) -> impl Iterator<Item = usize> {
        let class = self.samples[index].class;
        // Samples are sorted by class first.
        let start = self.samples.partition_point(|s| s.class < class);
        let end = self.samples.partition_point(|s| s.class <= class);
        (index + 1..end).chain(start..index)
    }
}

/// Checks that `path` is a folder.
fn check_folder(path: &Path) -> Result<(), FolderError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(FolderError::NotAFolder(path.to_path_buf())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(FolderError::Missing(path.to_path_buf())),
        Err(source) => Err(FolderError::Io { path: path.to_path_buf(), source }),
    }
}

impl From<ListError> for FolderError {
    fn from(ListError { path, source }: ListError) -> Self {
        Self::Io { path, source }
    }
}
