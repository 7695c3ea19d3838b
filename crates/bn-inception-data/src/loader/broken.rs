//! Record of the images that could not be decoded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest share of a dataset that may be broken before a run stops, in percent.
pub const MAX_BROKEN_PERCENT: usize = 1;

/// One image that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenImage {
    /// Its file.
    pub path: PathBuf,
    /// The decoder's error.
    pub reason: String,
}

/// Images that an item of a batch found to be broken, by index in the dataset.
pub(super) type NewlyBroken = Vec<(usize, BrokenImage)>;

/// The broken images that a loader has found, each once. Clones share one list.
#[derive(Debug, Clone, Default)]
pub struct BrokenImages(Arc<Mutex<BTreeMap<usize, BrokenImage>>>);

impl BrokenImages {
    /// Number of different broken images.
    pub fn count(&self) -> usize {
        self.with(|images| images.len())
    }

    /// All of them, in the order of the dataset.
    pub fn list(&self) -> Vec<BrokenImage> {
        self.with(|images| images.values().cloned().collect())
    }

    /// The decoder's error of each, by index in the dataset.
    pub fn reasons(&self) -> BTreeMap<usize, String> {
        self.with(|images| {
            let images = images.iter();
            images.map(|(index, image)| (*index, image.reason.clone())).collect()
        })
    }

    /// Adds dataset image `index`; `false` if it was recorded already.
    pub(super) fn add(&self, index: usize, image: BrokenImage) -> bool {
        self.with(|images| images.insert(index, image).is_none())
    }

    /// `true` if more than [`MAX_BROKEN_PERCENT`] of `total` images are broken.
    pub(super) fn too_many(&self, total: usize) -> bool {
        self.count() * 100 > total * MAX_BROKEN_PERCENT
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<usize, BrokenImage>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
