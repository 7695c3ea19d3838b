//! Broken images that ranks tell each other of.

use std::collections::{BTreeMap, BTreeSet};

use bn_inception_data::{ImageLoader, LoaderError};

/// The broken images of a loader that all ranks know of.
#[derive(Default)]
pub(crate) struct SharedBroken(BTreeSet<usize>);

impl SharedBroken {
    /// Those that this rank's `loader` found since the last exchange: the decoder's error by index in the dataset.
    pub(crate) fn news(&self, loader: &ImageLoader) -> BTreeMap<usize, String> {
        if loader.broken().count() == self.0.len() {
            return BTreeMap::new();
        }
        let found = loader.broken().reasons().into_iter();
        found.filter(|(index, _)| !self.0.contains(index)).collect()
    }

    /// Counts those that any rank found in `loader`.
    ///
    /// # Errors
    /// [`LoaderError::TooManyBroken`] if they are too many now.
    pub(crate) fn add(&mut self, loader: &ImageLoader, found: BTreeMap<usize, String>) -> Result<(), LoaderError> {
        self.0.extend(found.keys());
        loader.add_broken(found)
    }
}
