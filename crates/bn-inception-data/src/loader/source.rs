//! The images of a dataset: decoded, or replaced if they cannot be.

use std::sync::Arc;

use image::RgbImage;

use super::broken::{BrokenImage, BrokenImages, NewlyBroken};
use super::error::LoaderError;
use super::options::LoaderOptions;
use crate::dataset::ImageDataset;
use crate::decode::DecodeError;

/// A dataset and the record of its broken ones.
pub(super) struct Source {
    pub(super) dataset: Arc<ImageDataset>,
    pub(super) options: LoaderOptions,
    pub(super) decode: fn(&ImageDataset, usize) -> Result<RgbImage, DecodeError>,
    pub(super) broken: BrokenImages,
}

/// A decoded image, and those that could not be decoded in its place.
pub(super) struct Decoded {
    pub(super) image: RgbImage,
    pub(super) broken: NewlyBroken,
}

impl Source {
    /// # Errors
    /// [`LoaderError::NoBatchSize`] if the batch size is 0.
    pub(super) fn new(dataset: Arc<ImageDataset>, options: LoaderOptions) -> Result<Self, LoaderError> {
        if options.batch_size == 0 {
            return Err(LoaderError::NoBatchSize);
        }
        Ok(Self { dataset, options, decode: ImageDataset::decode, broken: BrokenImages::default() })
    }

    /// Decodes image `index` or, unless the options are strict, the next of its class that can be decoded.
    pub(super) fn decode(&self, index: usize) -> Result<Decoded, LoaderError> {
        let dataset = &self.dataset;
        let mut broken = Vec::new();
        for candidate in std::iter::once(index).chain(dataset.others_of_class(index)) {
            match (self.decode)(dataset, candidate) {
                Ok(image) => return Ok(Decoded { image, broken }),
                Err(error) => {
                    let path = dataset.path(candidate);
                    let reason = error.to_string();
                    if self.options.strict {
                        return Err(LoaderError::Broken { path, reason });
                    }
                    broken.push((candidate, BrokenImage { path, reason }));
                }
            }
        }
        Err(LoaderError::NoReadableImage { class: dataset.classes()[dataset.class(index)].clone() })
    }

    /// Counts the `new` broken images, by index in the dataset.
    ///
    /// Consumers call this in the order of the batches, so that a run stops at the same batch for any number of
    /// workers.
    ///
    /// # Errors
    /// [`LoaderError::TooManyBroken`] at the first image that makes them too many.
    pub(super) fn note_broken(&self, new: NewlyBroken) -> Result<(), LoaderError> {
        let images = self.dataset.len();
        for (index, image) in new {
            let BrokenImage { path, reason } = image.clone();
            let is_new = self.broken.add(index, image);
            if is_new && self.broken.too_many(images) {
                return Err(LoaderError::TooManyBroken { broken: self.broken.count(), images, path, reason });
            }
        }
        Ok(())
    }
}
