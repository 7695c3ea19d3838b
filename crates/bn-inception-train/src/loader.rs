//! Batches of photographs on the device, for training and for evaluation.
//!
//! [`ImageLoader`] implements Burn's [`DataLoader`]. What it yields is a function of the dataset,
//! the seed, the epoch and the batch number alone: any number of workers gives the same bits, and
//! [`ImageLoader::iter_from`] goes on in the middle of an epoch as if it had never stopped. An image
//! that cannot be decoded is replaced by the next readable one of its class and noted in
//! [`ImageLoader::broken`]; an epoch never gets shorter.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bn_inception::decode::decode_file;
use bn_inception::preprocess::{Preprocess, PreprocessError};
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use image::RgbImage;
use rand::seq::SliceRandom;

use crate::augment::{Augment, Purpose, generator};
use crate::broken::{BrokenImage, BrokenImages, MAX_BROKEN_PERCENT};
use crate::dataset::ImageFolder;
use crate::epoch::{Epoch, HostBatch, Source};
use crate::prefetch::Prefetch;
pub use crate::prefetch::WorkerPanic;

/// Images and their classes, on one device.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// Normalised pixels, `[batch, 3, size, size]`.
    pub images: Tensor<4>,
    /// Class indices, `[batch]`.
    pub targets: Tensor<1, Int>,
}

/// How batches are cut and made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Threads that decode; with 0, the consumer decodes.
    pub workers: usize,
    /// Decides the order of every epoch and the augmentation of every image.
    pub seed: u64,
    /// Stop at the first image that cannot be decoded, instead of replacing it.
    pub strict: bool,
}

/// Why a loader cannot be made, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// A batch of no images was asked for.
    #[error("the batch size must be at least 1")]
    NoBatchSize,
    /// There are fewer images than one training batch, which is never cut short.
    #[error("{} holds {images} images, fewer than one batch of {batch_size}: add images, or choose a smaller batch size", .root.display())]
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
        /// Where to start.
        batch: usize,
        /// How many batches there are.
        batches: usize,
    },
    /// The preprocessing cannot work.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// An image cannot be decoded, and [`LoaderOptions::strict`] is set.
    #[error("{}: {reason}", .path.display())]
    Broken {
        /// The image's file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// More than [`MAX_BROKEN_PERCENT`] of the dataset cannot be decoded.
    #[error("{broken} of {images} images are broken, more than {MAX_BROKEN_PERCENT} %; the last is {}: {reason}", .path.display())]
    TooManyBroken {
        /// Different images that could not be decoded.
        broken: usize,
        /// Images in the dataset.
        images: usize,
        /// The last of them.
        path: PathBuf,
        /// What the decoder says of it.
        reason: String,
    },
    /// No image of a class can be decoded, so none can stand in for another.
    #[error("no image of class {class} can be decoded")]
    NoReadableImage {
        /// The class's name.
        class: String,
    },
    /// The system refused to start a thread.
    #[error("cannot start a loader thread: {0}")]
    Threads(io::Error),
    /// A worker panicked.
    #[error(transparent)]
    Panicked(#[from] WorkerPanic),
}

/// Loads a folder's images, batch by batch.
///
/// A training loader shuffles every epoch, augments, and leaves out the images that do not fill the
/// last batch (other ones each epoch). An evaluation loader takes all images in order, and its last
/// batch may be smaller.
pub struct ImageLoader {
    source: Arc<Source>,
    /// The dataset's images that this loader takes, in the order of an evaluation.
    indices: Arc<[u32]>,
    device: Device,
    next_epoch: AtomicU64,
}

impl ImageLoader {
    /// A loader for training: views of the images as `augment` makes them, normalised as `preprocess` says.
    ///
    /// # Errors
    /// [`LoaderError`] when the batch size is 0 or over the number of images, or `preprocess` is invalid.
    pub fn train(
        folder: Arc<ImageFolder>,
        preprocess: Preprocess,
        augment: Augment,
        options: LoaderOptions,
        device: &Device,
    ) -> Result<Self, LoaderError> {
        if folder.len() < options.batch_size {
            return Err(LoaderError::TooFewImages {
                root: folder.root().to_path_buf(),
                images: folder.len(),
                batch_size: options.batch_size,
            });
        }
        let mut loader = Self::new(folder, preprocess, Some(augment), options, device)?;
        // The dataset is sorted by class, so that a slice of it (one of several devices' share) would
        // hold a few classes only. Slices are therefore cut from a fixed mixture.
        let mut indices = loader.indices.to_vec();
        indices.shuffle(&mut generator(Purpose::Split, options.seed, 0, 0));
        loader.indices = indices.into();
        Ok(loader)
    }

    /// A loader for evaluation: images as [`Preprocess::eval_image`] makes them, in the dataset's order.
    ///
    /// # Errors
    /// [`LoaderError`] when the batch size is 0 or `preprocess` is invalid.
    pub fn eval(
        folder: Arc<ImageFolder>,
        preprocess: Preprocess,
        options: LoaderOptions,
        device: &Device,
    ) -> Result<Self, LoaderError> {
        Self::new(folder, preprocess, None, options, device)
    }

    fn new(
        folder: Arc<ImageFolder>,
        preprocess: Preprocess,
        augment: Option<Augment>,
        options: LoaderOptions,
        device: &Device,
    ) -> Result<Self, LoaderError> {
        if options.batch_size == 0 {
            return Err(LoaderError::NoBatchSize);
        }
        preprocess.check()?;
        let indices = (0..folder.len() as u32).collect();
        Ok(Self {
            source: Arc::new(Source {
                folder,
                preprocess,
                augment,
                options,
                decode: |path| decode_file(path),
                broken: BrokenImages::default(),
                waited: AtomicU64::new(0),
            }),
            indices,
            device: device.clone(),
            next_epoch: AtomicU64::new(0),
        })
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let size = self.source.options.batch_size;
        match self.source.augment {
            Some(_) => self.indices.len() / size,
            None => self.indices.len().div_ceil(size),
        }
    }

    /// The batches of `epoch` (from 0), from number `batch` (from 0) on. Leaves the epoch that
    /// [`DataLoader::iter`] takes next as it is.
    pub fn iter_from(&self, epoch: u64, batch: usize) -> ImageBatches {
        let mut order = self.indices.to_vec();
        if self.source.augment.is_some() {
            let seed = self.source.options.seed;
            order.shuffle(&mut generator(Purpose::Order, seed, epoch, 0));
        }
        let items = self.items();
        let work = Epoch {
            source: self.source.clone(),
            order,
            epoch,
        };
        let (batches, workers) = (self.batches(), self.source.options.workers);
        let prefetch = if batch > batches {
            Err(LoaderError::StartBeyondEpoch { batch, batches })
        } else {
            Prefetch::new(work, batch, batches, workers).map_err(LoaderError::Threads)
        };
        let (prefetch, error) = match prefetch {
            Ok(prefetch) => (Some(prefetch), None),
            Err(error) => (None, Some(error)),
        };
        ImageBatches {
            prefetch,
            error,
            source: self.source.clone(),
            device: self.device.clone(),
            delivered: items.min(batch * self.source.options.batch_size),
            items,
        }
    }

    /// Sets the epoch that the next call of [`DataLoader::iter`] takes; every call moves on by one.
    pub fn set_epoch(&self, epoch: u64) {
        self.next_epoch.store(epoch, Ordering::Relaxed);
    }

    /// The images that could not be decoded so far, shared with this loader's copies and slices.
    pub fn broken(&self) -> &BrokenImages {
        &self.source.broken
    }

    /// Image `index` of the dataset as an evaluation sees it, with its name; `None` if it cannot be
    /// decoded, which is not noted here.
    pub(crate) fn picture(&self, index: usize) -> Option<(String, RgbImage)> {
        let Source {
            folder, preprocess, ..
        } = self.source.as_ref();
        let decoded = (self.source.decode)(&folder.path(index)).ok()?;
        let image = preprocess.eval_image(&decoded).ok()?;
        Some((folder.name(index), image))
    }

    /// Counts images as broken that were found to be so before a run was resumed.
    pub(crate) fn restore_broken(&self, reasons: BTreeMap<usize, String>) {
        for (index, reason) in reasons {
            let path = self.source.folder.path(index);
            self.source.broken.add(index, BrokenImage { path, reason });
        }
    }

    /// Seconds that consumers waited for batches so far, in this loader and its copies and slices.
    pub fn wait_seconds(&self) -> f64 {
        Duration::from_nanos(self.source.waited.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// Images in an epoch: without those that a training epoch leaves out.
    fn items(&self) -> usize {
        match self.source.augment {
            Some(_) => self.batches() * self.source.options.batch_size,
            None => self.indices.len(),
        }
    }

    fn with(&self, indices: Arc<[u32]>, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        Arc::new(Self {
            source: self.source.clone(),
            indices,
            device: device.clone(),
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::Relaxed)),
        })
    }
}

impl DataLoader<ImageBatch> for ImageLoader {
    /// The next epoch: 0 at first, then one more with each call.
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ImageBatch> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        Box::new(self.iter_from(epoch, 0))
    }

    fn num_items(&self) -> usize {
        self.items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        self.with(self.indices.clone(), device)
    }

    /// A training loader's slices are cut from a fixed mixture of all classes. A range beyond the end
    /// is cut to what there is.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ImageBatch>> {
        let end = end.min(self.indices.len());
        let start = start.min(end);
        self.with(self.indices[start..end].into(), &self.device)
    }
}

/// The batches of one epoch. After an error there are no more.
pub struct ImageBatches {
    prefetch: Option<Prefetch<Epoch>>,
    error: Option<LoaderError>,
    source: Arc<Source>,
    device: Device,
    delivered: usize,
    items: usize,
}

impl ImageBatches {
    /// The next batch, with this crate's own error. `None` at the epoch's end and after an error.
    pub fn next_batch(&mut self) -> Option<Result<ImageBatch, LoaderError>> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        let start = Instant::now();
        let made = self.prefetch.as_mut()?.next();
        let waited = start.elapsed().as_nanos() as u64;
        self.source.waited.fetch_add(waited, Ordering::Relaxed);
        let batch = self.accept(made?);
        match &batch {
            Ok(batch) => self.delivered += batch.targets.dims()[0],
            Err(_) => self.prefetch = None,
        }
        Some(batch)
    }

    /// Notes the batch's broken images and moves it to the device.
    ///
    /// The rule about too many broken images is applied here, in the order of the batches, so that a run
    /// stops at the same batch however many workers there are.
    fn accept(
        &self,
        made: Result<Result<HostBatch, LoaderError>, WorkerPanic>,
    ) -> Result<ImageBatch, LoaderError> {
        let batch = made??;
        note_broken(&self.source.broken, batch.broken, self.source.folder.len())?;
        let size = self.source.preprocess.size as usize;
        let count = batch.targets.len();
        let images = TensorData::new(batch.images, [count, 3, size, size]);
        let targets = TensorData::new(batch.targets, [count]);
        Ok(ImageBatch {
            images: Tensor::from_data(images, &self.device),
            targets: Tensor::from_data(targets, &self.device),
        })
    }
}

/// Notes the `new` broken images of a dataset of `images` images.
pub(crate) fn note_broken(
    broken: &BrokenImages,
    new: Vec<(usize, BrokenImage)>,
    images: usize,
) -> Result<(), LoaderError> {
    for (index, image) in new {
        let BrokenImage { path, reason } = image.clone();
        let is_new = broken.add(index, image);
        if is_new && broken.too_many(images) {
            let broken = broken.count();
            return Err(LoaderError::TooManyBroken {
                broken,
                images,
                path,
                reason,
            });
        }
    }
    Ok(())
}

impl Iterator for ImageBatches {
    type Item = Result<ImageBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch()
            .map(|batch| batch.map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<ImageBatch> for ImageBatches {
    fn progress(&self) -> Progress {
        Progress::new(self.delivered, self.items, Some("items".to_owned()))
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
            let options = LoaderOptions {
                batch_size: 2,
                workers,
                seed: 0,
                strict: false,
            };
            let folder = Arc::new(ImageFolder::open(dir.path()).unwrap());
            let preprocess = Preprocess::imagenet(8);
            let mut loader =
                ImageLoader::eval(folder, preprocess, options, &Device::flex()).unwrap();
            Arc::get_mut(&mut loader.source).unwrap().decode = |path| {
                assert!(!path.ends_with("4-panic.png"), "a decoder's own bug");
                Ok(RgbImage::new(8, 8))
            };
            let mut batches = loader.iter();
            assert!(batches.next().unwrap().is_ok());
            assert!(batches.next().unwrap().is_ok());
            assert!(!batches.progress().is_completed());
            let error = batches.next().unwrap().unwrap_err().to_string();
            assert!(error.contains("a decoder's own bug"), "{error}");
            assert!(batches.next().is_none());
            assert!(!batches.progress().is_completed());
        }
    }
}
