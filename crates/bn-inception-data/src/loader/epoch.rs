//! One epoch's work for the loader's threads: decode, augment or crop, normalise.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use image::RgbImage;

use super::broken::NewlyBroken;
use super::error::LoaderError;
use super::prefetch::Work;
use super::source::Source;
use crate::augment::Augment;
use crate::preprocess::Preprocess;
use crate::random::{Purpose, generator};

/// State shared by all copies and slices of a loader.
pub(super) struct Shared {
    pub(super) source: Source,
    pub(super) preprocess: Preprocess,
    /// `None` in evaluation.
    pub(super) augment: Option<Augment>,
    /// Nanoseconds that consumers waited for batches.
    pub(super) waited: AtomicU64,
}

/// One epoch's work: images in order.
pub(super) struct Epoch {
    pub(super) shared: Arc<Shared>,
    pub(super) order: Vec<u32>,
    pub(super) epoch: u64,
}

/// A prepared image, and those that could not be decoded.
pub(super) struct Loaded {
    image: RgbImage,
    class: usize,
    broken: NewlyBroken,
}

/// A batch before it is on the device.
pub(super) struct HostBatch {
    /// Normalised pixels, `[batch, 3, size, size]`.
    pub(super) images: Vec<f32>,
    pub(super) targets: Vec<i64>,
    pub(super) broken: NewlyBroken,
}

impl Work for Epoch {
    type Item = Result<Loaded, LoaderError>;
    type Batch = Result<HostBatch, LoaderError>;

    fn items(&self, batch: usize) -> usize {
        let size = self.shared.source.options.batch_size;
        size.min(self.order.len() - batch * size)
    }

    fn item(&self, batch: usize, place: usize) -> Self::Item {
        let Shared { source, preprocess, augment, .. } = self.shared.as_ref();
        let index = self.order[batch * source.options.batch_size + place] as usize;
        let decoded = source.decode(index)?;
        let image = match augment {
            Some(augment) => {
                let seed = source.options.seed;
                let mut random = generator(Purpose::Image, seed, self.epoch, index as u64);
                augment.apply(&decoded.image, &mut random)?
            }
            None => preprocess.eval_image(&decoded.image)?,
        };
        Ok(Loaded { image, class: source.dataset.class(index), broken: decoded.broken })
    }

    fn assemble(&self, items: Vec<Self::Item>) -> Self::Batch {
        let preprocess = &self.shared.preprocess;
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
