//! CPU kernels for BN-Inception: convolution, batch normalisation and pooling, forward and backward, and an inference
//! engine for the whole folded network.
//!
//! Inputs and outputs are plain contiguous `f32` slices in NCHW order; the crate depends on no tensor library. Every
//! function takes a validated shape ([`Conv2dShape`], [`BatchNormShape`], [`Pool2dShape`]) and checks the length of
//! every slice against it before touching one, so a wrong extent is a [`ShapeError`] that names the buffer and never an
//! out-of-bounds access.
//!
//! # Where things are
//!
//! | module            | contents                                                                               |
//! |-------------------|----------------------------------------------------------------------------------------|
//! | [`shape`]         | extents of convolutions and batch normalisations, and the error for wrong extents      |
//! | [`conv`]          | the three passes of a convolution: forward, input and weight gradient                  |
//! | `correlation`     | forward pass and input gradient: weights × columns, one output tile at a time          |
//! | `weight_grad`     | weight gradient: dot products over the pixels                                          |
//! | `columns`         | unrolling of image rows into matrix rows (im2col), a few channels at a time            |
//! | `tile`            | register-tiled inner loops, generic over the vector type                               |
//! | `simd`            | the vector types: AVX-512, AVX2, NEON and a portable one                               |
//! | [`batch_norm`]    | batch normalisation with optional fused ReLU                                           |
//! | [`pool`]          | max and average pooling with PyTorch's border rules                                    |
//! | [`infer`]         | inference of the whole folded network in one planned call                              |
//! | [`mod@reference`] | scalar reference implementation of every training kernel, in `f64`, for the tests      |
//!
//! # Determinism
//!
//! Work is split by shape alone and runs on rayon's global pool. Each part is computed sequentially and partial results
//! are reduced in a fixed order, so results are bit-identical for any number of threads. They may differ in the last
//! bits between instruction sets.
//!
//! # Example
//!
//! ```
//! use bn_inception_kernels::{Conv2dShape, conv2d};
//!
//! // One image, 2 → 1 channels, 3×3 kernel, padding 1 on every side.
//! let shape = Conv2dShape::new([1, 2, 4, 4], 1, [3, 3], [1, 1], [1; 4], 1)?;
//! let x = vec![1.0; shape.input_len()];
//! let weight = vec![1.0; shape.weight_len()];
//! let mut y = vec![0.0; shape.output_len()];
//! conv2d(&shape, &x, &weight, &mut y)?;
//! assert_eq!(y[0], 8.0); // a corner sees 2×2 pixels of 2 channels
//! assert_eq!(y[5], 18.0);
//! # Ok::<(), bn_inception_kernels::ShapeError>(())
//! ```

// Vector intrinsics and disjoint parallel writes into one strided tensor need `unsafe`; this crate contains it, so that
// the crates above it need none. Every block states why it is sound.
#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

// The unit tests share helpers with the integration tests, which refer to the crate by its name.
#[cfg(test)]
extern crate self as bn_inception_kernels;

pub mod batch_norm;
mod columns;
mod conv;
mod correlation;
mod disjoint;
pub mod infer;
pub mod nchw_conv;
pub mod nchw_pool;
pub mod norm;
mod plan;
mod pool;
pub mod reference;
mod scratch;
pub mod shape;
mod simd;
mod tile;
pub mod train;
mod weight_grad;

pub use batch_norm::{
    BatchNormGradients, BatchNormParams, batch_norm_eval, batch_norm_train, batch_norm_train_backward,
};
pub use nchw_conv::{conv2d, conv2d_backward_input, conv2d_backward_weight};
pub use nchw_pool::{Pool2dShape, avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward};
pub use shape::{BatchNormShape, Conv2dShape, ShapeError};
pub use tile::instruction_set;

// The example of the README is a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
