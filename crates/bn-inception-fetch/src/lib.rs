#![doc = include_str!("../README.md")]

pub use checksum::Checksum;
pub use download::FetchEvent;
pub use error::{FetchError, FetchProblem};
pub use source::{LARGEST_FILE, Mismatch, Source};
pub use store::{HOME_VARIABLE, Location, Store};

mod checksum;
mod download;
mod error;
mod source;
mod store;
