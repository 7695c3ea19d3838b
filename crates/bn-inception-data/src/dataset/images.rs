//! The images of a dataset, whatever holds them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use sha2::{Digest as _, Sha256};

use super::error::DatasetError;
use super::layout::Layout;
use super::listing::{Listing, Place};
use super::split::Split;
use super::{folder, tree};
use crate::decode::{DecodeError, MAX_FILE_BYTES, decode, file_too_large, read_file};

/// Hash of the names of classes and images of `folders`, 16 hexadecimal digits: the same for the same names in the same
/// order, wherever and however they are kept. The contents of files are not included.
#[must_use]
pub fn fingerprint<'a>(folders: impl IntoIterator<Item = &'a ImageDataset>) -> String {
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

/// Labelled images, in folders or archives, as a list; no image is opened.
///
/// Classes are numbered in the order of their names (those of WebDataset shards by their numbers) and images are sorted by
/// name, so that an index means the same on every machine, and in every layout of the same images.
#[derive(Debug, Clone)]
pub struct ImageDataset(Arc<Listing>);

impl ImageDataset {
    /// Lists `root/CLASS/**`: every folder in `root` is a class, every image at any depth below it one of its samples.
    /// Files called `.jpg`, `.jpeg` or `.png` count as images, and any other whose first bytes are those of one. Names
    /// that start with a dot are skipped; what else is there is [left out](Self::left_out).
    ///
    /// # Errors
    /// [`DatasetError`] if `root` is missing, is no folder, cannot be read or has no class folders, or a class has no
    /// images.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, DatasetError> {
        folder::list(root.as_ref()).map(Self::new)
    }

    /// Opens a part of the dataset at `path`, whose layout is recognised by what is there:
    ///
    /// - a folder with `train/CLASS/*` and `val/CLASS/*`, each class as by [`Self::open`];
    /// - a folder with `ILSVRC2012_img_train.tar`, a tar of one tar for each class, and `ILSVRC2012_img_val.tar`, as they
    ///   are distributed. The classes of the validation images come from `ILSVRC2012_devkit_t12.tar.gz`, its folder,
    ///   `LOC_val_solution.csv` or `imagenet_2012_validation_synset_labels.txt` beside them;
    /// - Kaggle's `ILSVRC/Data/CLS-LOC`, or a folder above it, with `LOC_val_solution.csv` in one of them;
    /// - a folder of [WebDataset](https://github.com/webdataset/webdataset) shards `*-train-*.tar` and `*-val-*.tar` or
    ///   `*-validation-*.tar`. An image's class is the number in `.cls`, or `label` in `.json`, of the same key; the names
    ///   of classes are those in `classes.txt`, `dataset_info.json` or `_info.json`, else their numbers;
    /// - a tar archive of a folder with `train/CLASS/*` and `val/CLASS/*`.
    ///
    /// Archives are not unpacked: they are listed once, by seeking through their headers, and an index of them is kept
    /// beside them (`bn-inception.train.index`) or, where that cannot be written, below `BN_INCEPTION_HOME`.
    ///
    /// # Errors
    /// [`DatasetError`] if nothing is recognised, the part is missing, an archive is damaged or cut short, or a label is
    /// missing.
    pub fn open_split(path: impl AsRef<Path>, split: Split) -> Result<Self, DatasetError> {
        Layout::of(path.as_ref())?.list(split).map(Self::new)
    }

    /// Opens the validation images of the dataset at `path` or, if it has no such part, all images of a folder or tar
    /// archive that holds the classes, or of a shard.
    ///
    /// # Errors
    /// As for [`Self::open_split`]; a `path` with a `train` folder but no `val` has no such split.
    pub fn open_validation(path: impl AsRef<Path>) -> Result<Self, DatasetError> {
        let path = path.as_ref();
        let listing = match Layout::of(path) {
            Ok(Layout::Archive { path }) => tree::list_validation(&path),
            Ok(layout) => layout.list(Split::Val),
            Err(DatasetError::NoLayout(dir)) => match folder::list(&dir) {
                Err(DatasetError::NoClasses(dir)) => Err(DatasetError::NoLayout(dir)),
                other => other,
            },
            Err(error) => Err(error),
        };
        listing.map(Self::new)
    }

    fn new(listing: Listing) -> Self {
        Self(Arc::new(listing))
    }

    /// Checks that `val` has exactly the classes of `self`, so that class indices mean the same.
    ///
    /// # Errors
    /// [`DatasetError::ClassesDiffer`] with the names that only one of them has.
    pub fn check_same_classes(&self, val: &Self) -> Result<(), DatasetError> {
        if self.classes() == val.classes() {
            return Ok(());
        }
        let missing_in = |there: &Self, here: &Self| -> Vec<String> {
            let there: HashSet<_> = there.classes().iter().collect();
            here.classes().iter().filter(|class| !there.contains(class)).cloned().collect()
        };
        Err(DatasetError::ClassesDiffer {
            train: self.root().to_path_buf(),
            val: val.root().to_path_buf(),
            only_in_train: missing_in(val, self),
            only_in_val: missing_in(self, val),
        })
    }

    /// The folder or archive that was opened.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Names of the classes, in the order of their indices.
    pub fn classes(&self) -> &[String] {
        &self.0.classes
    }

    /// Files that are no samples, in the order of their paths: those that are no images, and any beside the class
    /// folders.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.0.left_out
    }

    /// Number of images; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.samples.len()
    }

    /// Path of image `index`; of one in an archive, the archive's path followed by the image's name.
    ///
    /// # Panics
    /// If `index` is not below [`ImageDataset::len`].
    pub fn path(&self, index: usize) -> PathBuf {
        self.0.path(&self.0.samples[index])
    }

    /// Name of image `index`, `CLASS/FILE` with `/` between its parts: the same in every layout.
    ///
    /// # Panics
    /// If `index` is not below [`ImageDataset::len`].
    pub fn name(&self, index: usize) -> Cow<'_, str> {
        let name = &self.0.samples[index].name;
        match name.to_str() {
            Some(name) if MAIN_SEPARATOR == '/' => name.into(),
            _ => name.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/").into(),
        }
    }

    /// The bytes of image `index`'s file.
    ///
    /// # Errors
    /// [`DecodeError`] if they cannot be read, or are more than [`MAX_FILE_BYTES`].
    ///
    /// # Panics
    /// If `index` is not below [`ImageDataset::len`].
    pub fn bytes(&self, index: usize) -> Result<Vec<u8>, DecodeError> {
        let sample = &self.0.samples[index];
        let Place::Range { archive, offset, length } = sample.place else {
            return read_file(&self.0.path(sample));
        };
        if length > MAX_FILE_BYTES {
            return Err(file_too_large(length));
        }
        Ok(self.0.archives[archive as usize].read(offset, length as usize)?)
    }

    /// Image `index`, decoded.
    ///
    /// # Errors
    /// As for [`Self::bytes`] and [`decode`].
    ///
    /// # Panics
    /// If `index` is not below [`ImageDataset::len`].
    pub fn decode(&self, index: usize) -> Result<RgbImage, DecodeError> {
        decode(&self.bytes(index)?)
    }

    /// The [`fingerprint`] of the images of each class, in the order of the classes: it tells which one has changed.
    #[must_use]
    pub fn class_fingerprints(&self) -> Vec<String> {
        let mut hashes = vec![Sha256::new(); self.classes().len()];
        for (index, sample) in self.0.samples.iter().enumerate() {
            self.hash(index, &mut hashes[sample.class as usize]);
        }
        hashes.into_iter().map(hexadecimal).collect()
    }

    /// Adds class and name of image `index` to `hash`.
    fn hash(&self, index: usize, hash: &mut Sha256) {
        hash.update(self.0.samples[index].class.to_le_bytes());
        hash.update(self.name(index).as_bytes());
        hash.update([0]);
    }

    /// Class index of image `index`.
    ///
    /// # Panics
    /// If `index` is not below [`ImageDataset::len`].
    pub fn class(&self, index: usize) -> usize {
        self.0.samples[index].class as usize
    }

    /// Indices of the other images of the same class: those after `index`, then, from the first, those before it.
    ///
    /// # Panics
    /// If `index` is not below [`ImageDataset::len`].
    pub fn others_of_class(&self, index: usize) -> impl Iterator<Item = usize> {
        let class = self.0.samples[index].class;
        // Samples are sorted by class first.
        let start = self.0.samples.partition_point(|s| s.class < class);
        let end = self.0.samples.partition_point(|s| s.class <= class);
        (index + 1..end).chain(start..index)
    }
}
