//! The crate's guarantees, as one test program.

// A failed setup step is a failed test.
#![allow(clippy::unwrap_used)]

mod archives;
mod dataset;
mod drawn;
mod input;
mod layouts;
mod loader;
mod prepared;
mod preprocess;
