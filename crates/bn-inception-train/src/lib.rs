//! Training.
pub mod drawn;

pub mod augment;
pub mod broken;
pub mod dataset;
pub mod loader;
mod prefetch;
