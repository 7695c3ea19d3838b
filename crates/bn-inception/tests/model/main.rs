//! The crate's promises, as one test program: the network and its layers, its weights in every format, its predictions.
//!
//! Two modules have tests for other backends:
//!
//! ```sh
//! cargo test --workspace --features ndarray,wgpu --test model -- backends:: parity::
//! ```

// A failed step of the preparation is a failed test.
#![allow(clippy::unwrap_used)]

mod common;
mod parity;

#[cfg(feature = "flex")]
mod backends;
#[cfg(feature = "flex")]
mod batch_norm;
#[cfg(feature = "flex")]
mod embed;
#[cfg(feature = "flex")]
mod export;
#[cfg(feature = "flex")]
mod fine_tune;
#[cfg(feature = "flex")]
mod flow;
#[cfg(feature = "flex")]
mod fold;
#[cfg(feature = "flex")]
mod import;
#[cfg(feature = "flex")]
mod network;
#[cfg(feature = "flex")]
mod predict;
