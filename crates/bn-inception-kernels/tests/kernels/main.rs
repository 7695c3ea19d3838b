//! The crate's promises, as one test program: the inference engine against its reference, in `f64`.

// A failed step of the preparation is a failed test.
#![allow(clippy::unwrap_used)]

mod common;
#[allow(unsafe_code)]
mod guard;
mod infer;
mod infer_edges;
mod infer_ends;
mod networks;
