//! The crate's promises, as one test program.

// A failed step of the preparation is a failed test.
#![allow(clippy::unwrap_used)]

mod dataset;
mod drawn;
mod loader;
mod prepared;
mod preprocess;
