//! [`ImageLoader`] as Burn's [`DataLoader`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::batches::{ImageBatch, ImageBatches};
use super::image_loader::ImageLoader;

impl ImageLoader {
    fn with(&self, indices: Arc<[u32]>, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        Arc::new(Self {
            shared: self.shared.clone(),
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

    /// Slices of a training loader are cut from a fixed mixture of all classes. A range beyond the end is clamped.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ImageBatch>> {
        let end = end.min(self.indices.len());
        let start = start.min(end);
        self.with(self.indices[start..end].into(), &self.device)
    }
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
