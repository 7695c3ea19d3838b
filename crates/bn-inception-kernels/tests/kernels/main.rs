//! The crate's promises, as one test program: the training kernels and the inference engine against their references.

// A failed step of the preparation is a failed test.
#![allow(clippy::unwrap_used)]

mod batch_norm;
mod common;
mod conv;
#[allow(unsafe_code)]
mod guard;
mod infer;
mod infer_edges;
mod networks;
mod pool;
