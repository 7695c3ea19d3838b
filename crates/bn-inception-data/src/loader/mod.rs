//! Batches of images, decoded by several threads.

mod batches;
mod broken;
mod epoch;
mod error;
mod image_loader;
mod options;
mod parallel_map;
mod prefetch;
mod prepared;
mod priority;
mod source;

pub use batches::{ImageBatch, ImageBatches};
pub use broken::{BrokenImage, BrokenImages, MAX_BROKEN_PERCENT};
pub use error::LoaderError;
pub use image_loader::ImageLoader;
pub use options::LoaderOptions;
pub use parallel_map::ParallelMap;
pub use prefetch::WorkerPanic;
pub use prepared::{PreparedImage, PreparedImages};
