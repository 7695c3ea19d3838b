//! The weights of BN-Inception that can be asked for by name: what they are, where they are, and how to get them whole.
//!
//! - [`entries`] and [`named`]: the registry, `registry.toml`, typed. Each entry has a model card beside it.
//! - [`Store`]: the bytes behind an entry: built in, in the cache, or downloaded into it. Nothing gets its final name
//!   before its checksum was verified, and a file put there by hand is verified as well.
//!
//! This crate knows neither Burn nor the network; `bn_inception::weights` makes models of the bytes.

pub use bn_inception_data::{ColorOrder, Interpolation, PixelRange, Preprocess, Resize};
pub use checksum::Checksum;
pub use error::{FetchError, FetchProblem, Mismatch};
pub use registry::{Accuracy, Entry, Format, KnownLabels, Labels, entries, named};
pub use store::{Event, HOME_VARIABLE, LARGEST_FILE, Place, Store};

mod checksum;
mod download;
mod error;
mod registry;
mod store;
