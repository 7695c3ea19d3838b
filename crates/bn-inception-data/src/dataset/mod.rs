//! Datasets of labelled images: their layouts, and the files or archives that hold them.

mod archive;
mod devkit;
mod error;
mod folder;
mod ilsvrc;
mod images;
mod index;
mod kaggle;
mod layout;
mod listing;
mod mat;
mod members;
mod shards;
mod split;
mod tree;

pub use archive::ArchiveError;
pub use error::DatasetError;
pub use images::{ImageDataset, fingerprint};
pub use split::Split;
