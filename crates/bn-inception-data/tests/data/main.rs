//! Tests of what the crate promises its users, as one program.

// A failed step of the preparation is a failed test.
#![allow(clippy::unwrap_used)]

mod dataset;
mod drawn;
mod loader;
mod preprocess;
