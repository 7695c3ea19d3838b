//! Images for the training and evaluation of image classifiers, from files to batches of tensors.
//!
//! # From a folder to a batch
//!
//! [`ImageDataset`] lists labelled images in folders or archives, whatever their layout. [`Preprocess`] says which values the network expects, and
//! [`Augment`] varies the images of training. [`ImageLoader`] puts them together: several threads decode, augment and
//! normalise, and [`ImageBatch`]es arrive in an order that depends on the seed alone.
//!
//! ```
//! use bn_inception_data::{Augment, ImageDataset, ImageLoader, LoaderOptions, Preprocess, Split};
//! use bn_inception_data::{DrawnConfig, GOOGLENET_MIN_AREA, draw_dataset};
//! use burn::tensor::Device;
//!
//! # let folder = tempfile::tempdir()?;
//! # let dir = &folder.path().join("drawn");
//! // Any layout that `open_split` recognises will do; this tree `dir/{train,val}/CLASS/*.jpg` is drawn from a seed.
//! draw_dataset(dir, &DrawnConfig { train_per_class: 4, val_per_class: 1, ..DrawnConfig::default() })?;
//! let train = ImageDataset::open_split(dir, Split::Train)?;
//! assert_eq!((train.classes().len(), train.len()), (10, 40));
//!
//! let size = 64;
//! let augment = Augment::new(size, GOOGLENET_MIN_AREA, 0.5);
//! let options = LoaderOptions { batch_size: 16, workers: 2, seed: 0, strict: false };
//! let device = Device::flex();
//! let loader = ImageLoader::train(train, Preprocess::imagenet(size), augment, options, &device)?;
//!
//! for batch in loader.iter_from(0, 0) {
//!     let batch = batch?;
//!     assert_eq!(batch.images.dims(), [16, 3, 64, 64]);
//!     assert_eq!(batch.targets.dims(), [16]);
//! }
//! assert_eq!(loader.broken().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # One image
//!
//! [`decode_file`] turns an image file (JPEG, PNG, WebP, GIF, BMP, TIFF) into upright RGB, [`Preprocess::eval_image`] cuts out the crop for evaluation,
//! and [`Preprocess::normalize_into`] writes the values that enter the network; [`Preprocess::batch`] makes a tensor of
//! images from anywhere. [`Crops`] makes the 10 or 144 crops of multi-crop evaluation, and [`PreparedImages`] those of
//! all images of a folder.
//!
//! # Inputs of other networks
//!
//! An [`Input`] is one example for a network of any number of channels: an image, a stack of grey ones, or an array of
//! NumPy. [`FileList`] finds the files of a folder by content, and [`ParallelMap`] reads them in several threads.
//!
//! # Broken images
//!
//! An image that cannot be decoded is replaced by the next of its class and counted in [`BrokenImages`]; more than
//! [`MAX_BROKEN_PERCENT`] percent of a dataset are an error, and so is the first with [`LoaderOptions::strict`].
//!
//! # The embedded dataset
//!
//! [`drawn`] draws labelled pictures from a seed: a dataset for users without one.

pub use augment::{Augment, GOOGLENET_MIN_AREA};
pub use crops::{Crops, UnknownCrops};
pub use dataset::{ArchiveError, DatasetError, ImageDataset, Split, fingerprint};
pub use decode::{DecodeError, decode, decode_file};
pub use drawn::{DrawnConfig, draw_dataset};
pub use error::PreprocessError;
pub use files::{Content, FileList, ListError, left_out};
pub use input::{Input, InputError, View};
pub use loader::{
    BrokenImage, BrokenImages, ImageBatch, ImageBatches, ImageLoader, LoaderError, LoaderOptions, MAX_BROKEN_PERCENT,
    ParallelMap, PreparedImage, PreparedImages, WorkerPanic,
};
pub use npy::{NpyArray, NpyError, read_npy, write_npy};
pub use preprocess::{ColorOrder, PixelRange, Preprocess, Resize, UnknownPreprocess};
pub use resize::{CropRect, Interpolation, crop_resize, crop_resize_to};

mod augment;
mod crops;
mod dataset;
pub mod decode;
pub mod drawn;
mod error;
mod files;
mod input;
mod loader;
mod npy;
mod preprocess;
mod random;
mod resize;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
