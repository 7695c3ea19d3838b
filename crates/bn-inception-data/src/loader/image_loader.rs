//! The loader of one dataset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use image::RgbImage;
use rand::seq::SliceRandom;

use super::batches::ImageBatches;
use super::broken::{BrokenImage, BrokenImages};
use super::epoch::{Epoch, Shared};
use super::error::LoaderError;
use super::options::LoaderOptions;
use super::source::Source;
use crate::augment::Augment;
use crate::dataset::ImageDataset;
use crate::preprocess::Preprocess;
use crate::random::{Purpose, generator};

/// Loads a dataset's images, batch by batch.
///
/// A training loader shuffles every epoch, augments, and leaves out the images that do not fill the last batch
/// (different ones each epoch). An evaluation loader yields all images in order, and its last batch may be smaller.
///
/// Batches depend on the dataset, the seed, the epoch and the batch number alone: any number of workers gives the same
/// bits, and [`Self::iter_from`] continues in the middle of an epoch as if it had never stopped. An image that cannot
/// be decoded is replaced by the next readable one of its class and counted in [`Self::broken`]; an epoch never gets
/// shorter.
pub struct ImageLoader {
    shared: Arc<Shared>,
    /// Indices in the dataset of this loader's images; an epoch of training shuffles them.
    indices: Vec<u32>,
    device: Device,
}

impl ImageLoader {
    /// A loader for training: views of the images by `augment`, normalised by `preprocess`.
    ///
    /// # Errors
    /// [`LoaderError`] if the batch size is 0 or greater than the number of images, or `preprocess` is invalid.
    pub fn train(
        dataset: impl Into<Arc<ImageDataset>>,
        preprocess: Preprocess,
        augment: Augment,
        options: LoaderOptions,
        device: &Device,
    ) -> Result<Self, LoaderError> {
        let dataset = dataset.into();
        if dataset.len() < options.batch_size {
            return Err(LoaderError::TooFewImages {
                root: dataset.root().to_path_buf(),
                images: dataset.len(),
                batch_size: options.batch_size,
            });
        }
        let mut loader = Self::new(dataset, preprocess, Some(augment), options, device)?;
        // The dataset is sorted by class, so that a slice of it (for one of several devices) would hold a few classes
        // only. Slices are therefore cut from a fixed random order.
        let mut random = generator(Purpose::Split, options.seed, 0, 0);
        loader.indices.shuffle(&mut random);
        Ok(loader)
    }

    /// A loader for evaluation: images by [`Preprocess::eval_image`], in the order of the dataset.
    ///
    /// # Errors
    /// [`LoaderError`] if the batch size is 0 or `preprocess` is invalid.
    pub fn eval(
        dataset: impl Into<Arc<ImageDataset>>,
        preprocess: Preprocess,
        options: LoaderOptions,
        device: &Device,
    ) -> Result<Self, LoaderError> {
        Self::new(dataset.into(), preprocess, None, options, device)
    }

    fn new(
        dataset: Arc<ImageDataset>,
        preprocess: Preprocess,
        augment: Option<Augment>,
        options: LoaderOptions,
        device: &Device,
    ) -> Result<Self, LoaderError> {
        let source = Source::new(dataset, options)?;
        preprocess.check()?;
        let indices = (0..source.dataset.len() as u32).collect();
        Ok(Self {
            shared: Arc::new(Shared { source, preprocess, augment, waited: AtomicU64::new(0) }),
            indices,
            device: device.clone(),
        })
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let size = self.shared.source.options.batch_size;
        match self.shared.augment {
            Some(_) => self.indices.len() / size,
            None => self.indices.len().div_ceil(size),
        }
    }

    /// Images in an epoch, without those that a training epoch leaves out.
    pub fn images(&self) -> usize {
        match self.shared.augment {
            Some(_) => self.batches() * self.shared.source.options.batch_size,
            None => self.indices.len(),
        }
    }

    /// The batches of `epoch` (from 0), starting with number `batch` (from 0).
    pub fn iter_from(&self, epoch: u64, batch: usize) -> ImageBatches {
        let order = self.order(epoch);
        let epoch = Epoch { shared: self.shared.clone(), order, epoch };
        ImageBatches::new(epoch, batch, self.batches(), self.device.clone())
    }

    /// The batches of `epoch` (from 0) with these `numbers` (from 0, ascending), of several processes' share: each is
    /// the one that [`Self::iter_from`] yields, and the images of the others are not read. Numbers beyond the epoch are
    /// left out.
    pub fn iter_of(&self, epoch: u64, numbers: impl IntoIterator<Item = usize>) -> ImageBatches {
        let whole = self.order(epoch);
        let size = self.shared.source.options.batch_size;
        let (mut order, mut batches) = (Vec::new(), 0);
        for number in numbers.into_iter().take_while(|number| *number < self.batches()) {
            let start = number * size;
            order.extend(&whole[start..whole.len().min(start + size)]);
            batches += 1;
        }
        let epoch = Epoch { shared: self.shared.clone(), order, epoch };
        ImageBatches::new(epoch, 0, batches, self.device.clone())
    }

    /// Indices in the dataset of the images of `epoch`, batch after batch.
    fn order(&self, epoch: u64) -> Vec<u32> {
        let mut order = self.indices.clone();
        if self.shared.augment.is_some() {
            let seed = self.shared.source.options.seed;
            order.shuffle(&mut generator(Purpose::Order, seed, epoch, 0));
        }
        order
    }

    /// The images that could not be decoded so far.
    pub fn broken(&self) -> &BrokenImages {
        &self.shared.source.broken
    }

    /// Restores the images that were found to be broken before a run was resumed: the decoder's error by index in the
    /// dataset, from [`BrokenImages::reasons`].
    ///
    /// # Panics
    /// If an index is not below the number of images.
    pub fn restore_broken(&self, reasons: BTreeMap<usize, String>) {
        let source = &self.shared.source;
        for (index, reason) in reasons {
            let path = source.dataset.path(index);
            source.broken.add(index, BrokenImage { path, reason });
        }
    }

    /// Counts images that loaders of the same dataset in other processes found to be broken, as if this one had.
    ///
    /// # Errors
    /// [`LoaderError::TooManyBroken`] if they make the broken images too many.
    ///
    /// # Panics
    /// As [`Self::restore_broken`].
    pub fn add_broken(&self, reasons: BTreeMap<usize, String>) -> Result<(), LoaderError> {
        let source = &self.shared.source;
        let image = |(index, reason)| (index, BrokenImage { path: source.dataset.path(index), reason });
        source.note_broken(reasons.into_iter().map(image).collect())
    }

    /// Name and evaluation crop of image `index` of the dataset. `None` if it cannot be decoded, which is not recorded.
    ///
    /// # Panics
    /// If `index` is not below the number of images.
    pub fn picture(&self, index: usize) -> Option<(String, RgbImage)> {
        let source = &self.shared.source;
        let decoded = (source.decode)(&source.dataset, index).ok()?;
        let image = self.shared.preprocess.eval_image(&decoded).ok()?;
        Some((source.dataset.name(index).into_owned(), image))
    }

    /// Seconds that consumers have waited for batches so far.
    pub fn wait_seconds(&self) -> f64 {
        Duration::from_nanos(self.shared.waited.load(Ordering::Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_worker_is_an_error_and_never_a_short_epoch() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.png", "1.png", "2.png", "3.png", "4-panic.png", "5.png"] {
            std::fs::create_dir_all(dir.path().join("class")).unwrap();
            std::fs::write(dir.path().join("class").join(name), "").unwrap();
        }
        for workers in [0, 1, 3] {
            let options = LoaderOptions { batch_size: 2, workers, seed: 0, strict: false };
            let folder = Arc::new(ImageDataset::open(dir.path()).unwrap());
            let preprocess = Preprocess::imagenet(8);
            let mut loader = ImageLoader::eval(folder, preprocess, options, &Device::flex()).unwrap();
            Arc::get_mut(&mut loader.shared).unwrap().source.decode = |dataset, index| {
                assert!(!dataset.path(index).ends_with("4-panic.png"), "a decoder's own bug");
                Ok(RgbImage::new(8, 8))
            };
            let mut batches = loader.iter_from(0, 0);
            assert!(batches.next().unwrap().is_ok());
            assert!(batches.next().unwrap().is_ok());
            let error = batches.next().unwrap().unwrap_err().to_string();
            assert!(error.contains("a decoder's own bug"), "{error}");
            assert!(batches.next().is_none());
        }
    }
}
