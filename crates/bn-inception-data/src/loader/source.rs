//! The images of a folder: decoded, or replaced if they cannot be.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;

use super::broken::{BrokenImage, BrokenImages, NewlyBroken};
use super::error::LoaderError;
use super::options::LoaderOptions;
use crate::dataset::ImageFolder;
use crate::decode::{DecodeError, decode_file};

/// A folder of images and the record of its broken ones.
pub(super) struct Source {
    pub(super) folder: Arc<ImageFolder>,
    pub(super) options: LoaderOptions,
    pub(super) decode_file: fn(&Path) -> Result<RgbImage, DecodeError>,
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
    pub(super) fn new(folder: Arc<ImageFolder>, options: LoaderOptions) -> Result<Self, LoaderError> {
        if options.batch_size == 0 {
            return Err(LoaderError::NoBatchSize);
        }
        Ok(Self { folder, options, decode_file: |path| decode_file(path), broken: BrokenImages::default() })
    }

    /// Decodes image `index` or, unless the options are strict, the next of its class that can be decoded.
    pub(super) fn decode(&self, index: usize) -> Result<Decoded, LoaderError> {
        let folder = &self.folder;
        let mut broken = Vec::new();
        for candidate in std::iter::once(index).chain(folder.others_of_class(index)) {
            let path = folder.path(candidate);
            match (self.decode_file)(&path) {
                Ok(image) => return Ok(Decoded { image, broken }),
                Err(error) => {
                    let reason = error.to_string();
                    if self.options.strict {
                        return Err(LoaderError::Broken { path, reason });
                    }
                    broken.push((candidate, BrokenImage { path, reason }));
                }
            }
        }
        Err(LoaderError::NoReadableImage { class: folder.classes()[folder.class(index)].clone() })
    }

    /// Counts the `new` broken images, by index in the dataset.
    ///
    /// Consumers call this in the order of the batches, so that a run stops at the same batch for any number of
    /// workers.
    ///
    /// # Errors
    /// [`LoaderError::TooManyBroken`] at the first image that makes them too many.
    pub(super) fn note_broken(&self, new: NewlyBroken) -> Result<(), LoaderError> {
        let images = self.folder.len();
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
