#![doc = include_str!("../README.md")]

pub use checksum::Checksum;
pub use error::{FetchError, FetchProblem};
pub use event::FetchEvent;
pub use source::{LARGEST_FILE, Mismatch, Source};
pub use store::{HOME_VARIABLE, Location, Store};

#[cfg(feature = "download")]
mod absent;
mod cache;
mod checksum;
#[cfg(feature = "download")]
mod download;
mod error;
mod event;
mod source;
mod store;
