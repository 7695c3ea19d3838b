//! One epoch's work for the loader's threads: decode, augment or crop, normalise.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bn_inception::decode::DecodeError;
use bn_inception::preprocess::Preprocess;
use image::RgbImage;

use crate::augment::{Augment, Purpose, generator};
use crate::broken::{BrokenImage, BrokenImages};
use crate::dataset::ImageFolder;
use crate::loader::{LoaderError, LoaderOptions};
use crate::prefetch::Work;

/// What all copies and slices of a loader have in common.
pub struct Source {
    pub folder: Arc<ImageFolder>,
    pub preprocess: Preprocess,
    /// `None`: evaluation.
    pub augment: Option<Augment>,
    pub options: LoaderOptions,
    pub decode: fn(&Path) -> Result<RgbImage, DecodeError>,
    pub broken: BrokenImages,
    /// Nanoseconds that consumers waited for batches.
    pub waited: AtomicU64,
}

/// One epoch's work: which images, in which order.
pub struct Epoch {
    pub source: Arc<Source>,
    pub order: Vec<u32>,
    pub epoch: u64,
}

/// A prepared image, and those that could not be.
pub struct Loaded {
    pub image: RgbImage,
    pub class: usize,
    pub broken: Vec<(usize, BrokenImage)>,
}

/// A batch before it is on the device.
pub struct HostBatch {
    pub images: Vec<f32>,
    pub targets: Vec<i64>,
    pub broken: Vec<(usize, BrokenImage)>,
}

/// Decodes image `index` of `folder`, or else, unless that is `strict`ly forbidden, the next of its class that can be
/// decoded. Returns with it the images that could not be.
pub fn decode_or_replace(
    folder: &ImageFolder,
    index: usize,
    strict: bool,
    decode: fn(&Path) -> Result<RgbImage, DecodeError>,
) -> Result<(RgbImage, Vec<(usize, BrokenImage)>), LoaderError> {
    let mut broken = Vec::new();
    for candidate in std::iter::once(index).chain(folder.others_of_class(index)) {
        let path = folder.path(candidate);
        match decode(&path) {
            Ok(image) => return Ok((image, broken)),
            Err(error) => {
                let reason = error.to_string();
                if strict {
                    return Err(LoaderError::Broken { path, reason });
                }
                broken.push((candidate, BrokenImage { path, reason }));
            }
        }
    }
    Err(LoaderError::NoReadableImage {
        class: folder.classes()[folder.class(index)].clone(),
    })
}

impl Work for Epoch {
    type Item = Result<Loaded, LoaderError>;
    type Batch = Result<HostBatch, LoaderError>;

    fn items(&self, batch: usize) -> usize {
        let size = self.source.options.batch_size;
        size.min(self.order.len() - batch * size)
    }

    fn item(&self, batch: usize, place: usize) -> Self::Item {
        let source = &self.source;
        let index = self.order[batch * source.options.batch_size + place] as usize;
        let strict = source.options.strict;
        let (image, broken) = decode_or_replace(&source.folder, index, strict, source.decode)?;
        let image = match &source.augment {
            Some(augment) => {
                let seed = source.options.seed;
                let mut random = generator(Purpose::Image, seed, self.epoch, index as u64);
                augment.apply(&image, &mut random)?
            }
            None => source.preprocess.eval_image(&image)?,
        };
        Ok(Loaded {
            image,
            class: source.folder.class(index),
            broken,
        })
    }

    fn assemble(&self, _: usize, items: Vec<Self::Item>) -> Self::Batch {
        let preprocess = &self.source.preprocess;
        let values = 3 * (preprocess.size as usize).pow(2);
        let mut batch = HostBatch {
            images: vec![0.0; items.len() * values],
            targets: Vec::with_capacity(items.len()),
            broken: Vec::new(),
        };
        for (loaded, out) in items.into_iter().zip(batch.images.chunks_exact_mut(values)) {
            let loaded = loaded?;
            preprocess.normalize_into(&loaded.image, out)?;
            batch.targets.push(loaded.class as i64);
            batch.broken.extend(loaded.broken);
        }
        Ok(batch)
    }
}
