//! The batches of one epoch, as tensors.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::epoch::{Epoch, HostBatch, Shared};
use super::error::LoaderError;
use super::prefetch::Prefetch;

/// Images and their classes, on one device.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// Normalised pixels, `[batch, 3, size, size]`.
    pub images: Tensor<4>,
    /// Class indices, `[batch]`.
    pub targets: Tensor<1, Int>,
}

/// Iterator over the batches of one epoch. It ends after an error.
pub struct ImageBatches {
    /// `None` after an error.
    prefetch: Option<Prefetch<Epoch>>,
    /// The error to be reported first.
    error: Option<LoaderError>,
    shared: Arc<Shared>,
    device: Device,
}

impl ImageBatches {
    /// The batches `start..` of `epoch`, which has `batches` of them.
    pub(super) fn new(epoch: Epoch, start: usize, batches: usize, device: Device) -> Self {
        let shared = epoch.shared.clone();
        let options = shared.source.options;
        let prefetch = if start > batches {
            Err(LoaderError::StartBeyondEpoch { batch: start, batches })
        } else {
            Prefetch::new(epoch, start, batches, options.workers).map_err(LoaderError::Threads)
        };
        let (prefetch, error) = match prefetch {
            Ok(prefetch) => (Some(prefetch), None),
            Err(error) => (None, Some(error)),
        };
        Self { prefetch, error, shared, device }
    }

    /// Counts the batch's broken images and moves it to the device.
    fn to_device(&self, batch: HostBatch) -> Result<ImageBatch, LoaderError> {
        self.shared.source.note_broken(batch.broken)?;
        let size = self.shared.preprocess.size as usize;
        let count = batch.targets.len();
        let images = TensorData::new(batch.images, [count, 3, size, size]);
        let targets = TensorData::new(batch.targets, [count]);
        Ok(ImageBatch {
            images: Tensor::from_data(images, &self.device),
            targets: Tensor::from_data(targets, &self.device),
        })
    }
}

impl Iterator for ImageBatches {
    type Item = Result<ImageBatch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        let start = Instant::now();
        let next = self.prefetch.as_mut()?.next();
        let waited = start.elapsed().as_nanos() as u64;
        self.shared.waited.fetch_add(waited, Ordering::Relaxed);
        let batch = match next? {
            Ok(batch) => batch.and_then(|batch| self.to_device(batch)),
            Err(panic) => Err(LoaderError::Panicked(panic)),
        };
        if batch.is_err() {
            self.prefetch = None;
        }
        Some(batch)
    }
}
