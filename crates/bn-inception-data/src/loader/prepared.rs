//! A folder's images in order, prepared by any function: for evaluation.

use std::sync::Arc;

use image::RgbImage;

use super::broken::{BrokenImages, NewlyBroken};
use super::error::LoaderError;
use super::options::LoaderOptions;
use super::prefetch::{Prefetch, Work};
use super::source::Source;
use crate::dataset::ImageDataset;
use crate::error::PreprocessError;

/// One image, prepared.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedImage<T> {
    /// Result of the preparation, such as the image's crops.
    pub value: T,
    /// Index of its class in the folder.
    pub class: usize,
}

/// Iterator over all images of a folder, in order and in batches. Threads decode them and prepare each with a function.
///
/// An image that cannot be decoded is replaced and counted as by [`ImageLoader`](crate::ImageLoader). The iterator ends
/// after an error. The seed of the options is not used.
///
/// ```no_run
/// use bn_inception_data::{Crops, ImageDataset, LoaderOptions, Preprocess, PreparedImages};
///
/// let folder = ImageDataset::open("imagenette/val")?;
/// let options = LoaderOptions { batch_size: 8, workers: 2, seed: 0, strict: false };
/// let preprocess = Preprocess::imagenet(224);
/// let batches = PreparedImages::new(folder, options, move |image| Crops::Ten.render(image, &preprocess))?;
/// for batch in batches {
///     for image in batch? {
///         println!("class {}: {} crops", image.class, image.value.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PreparedImages<T: Send + 'static> {
    /// `None` after an error.
    prefetch: Option<Prefetch<Preparation<T>>>,
    source: Arc<Source>,
}

/// The function that prepares an image.
type Prepare<T> = Box<dyn Fn(&RgbImage) -> Result<T, PreprocessError> + Send + Sync>;

struct Preparation<T> {
    source: Arc<Source>,
    prepare: Prepare<T>,
}

impl<T: Send + 'static> PreparedImages<T> {
    /// Starts decoding; `prepare` runs in the worker threads.
    ///
    /// # Errors
    /// [`LoaderError`] if the batch size is 0 or a thread cannot be started.
    pub fn new(
        dataset: impl Into<Arc<ImageDataset>>,
        options: LoaderOptions,
        prepare: impl Fn(&RgbImage) -> Result<T, PreprocessError> + Send + Sync + 'static,
    ) -> Result<Self, LoaderError> {
        let source = Arc::new(Source::new(dataset.into(), options)?);
        let work = Preparation { source: source.clone(), prepare: Box::new(prepare) };
        let batches = source.dataset.len().div_ceil(options.batch_size);
        let prefetch = Prefetch::new(work, 0, batches, options.workers).map_err(LoaderError::Threads)?;
        Ok(Self { prefetch: Some(prefetch), source })
    }

    /// The images that could not be decoded so far.
    pub fn broken(&self) -> &BrokenImages {
        &self.source.broken
    }

    /// Counts the batch's broken images, one image after the other.
    fn accept(&self, batch: Vec<Result<Item<T>, LoaderError>>) -> Result<Vec<PreparedImage<T>>, LoaderError> {
        let images = batch.into_iter().map(|item| {
            let (image, broken) = item?;
            self.source.note_broken(broken)?;
            Ok(image)
        });
        images.collect()
    }
}

impl<T: Send + 'static> Iterator for PreparedImages<T> {
    type Item = Result<Vec<PreparedImage<T>>, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.prefetch.as_mut()?.next()? {
            Ok(batch) => self.accept(batch),
            Err(panic) => Err(LoaderError::Panicked(panic)),
        };
        if batch.is_err() {
            self.prefetch = None;
        }
        Some(batch)
    }
}

/// A prepared image, and those that could not be decoded.
type Item<T> = (PreparedImage<T>, NewlyBroken);

impl<T: Send + 'static> Work for Preparation<T> {
    type Item = Result<Item<T>, LoaderError>;
    type Batch = Vec<Self::Item>;

    fn items(&self, batch: usize) -> usize {
        let size = self.source.options.batch_size;
        size.min(self.source.dataset.len() - batch * size)
    }

    fn item(&self, batch: usize, place: usize) -> Self::Item {
        let index = batch * self.source.options.batch_size + place;
        let decoded = self.source.decode(index)?;
        let image = PreparedImage { value: (self.prepare)(&decoded.image)?, class: self.source.dataset.class(index) };
        Ok((image, decoded.broken))
    }

    fn assemble(&self, items: Vec<Self::Item>) -> Self::Batch {
        items
    }
}
