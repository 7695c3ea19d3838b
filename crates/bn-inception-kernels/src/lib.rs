//! CPU kernels of BN-Inception: convolution, batch normalisation and pooling, forward and backward.
//!
//! Plain contiguous `f32` slices in NCHW order go in, plain slices come out; the crate knows no tensor
//! library. Every function takes a validated shape ([`Conv2dShape`], [`BatchNormShape`], [`Pool2dShape`])
//! and checks the length of every slice against it before touching one, so a wrong extent is a
//! [`ShapeError`] that names the buffer and never an out-of-bounds access.
//!
//! # Where things are
//!
//! | module          | what it holds                                                                  |
//! |-----------------|--------------------------------------------------------------------------------|
//! | [`shape`]       | convolution and batch-norm extents, and the error for wrong ones               |
//! | [`conv`]        | the four passes of a convolution: forward, input, weight and bias gradient     |
//! | `correlation`   | the engine of forward and input gradient: weights × columns, output tile by tile |
//! | `weight_grad`   | the engine of the weight gradient: dot products along the pixels               |
//! | `columns`       | unrolls image rows into matrix rows (im2col), a few channels at a time         |
//! | `tile`          | the register-tiled inner loops, written once over a vector type                |
//! | `simd`          | that vector type for AVX-512, AVX2, NEON and anything else                    |
//! | [`batch_norm`]  | batch normalisation with optional fused ReLU                                   |
//! | [`infer`]       | the whole folded network as one planned call                                        |
//! | [`pool`]        | max and average pooling with PyTorch's border rules                            |
//! | [`mod@reference`] | the scalar twin of every kernel, accumulating in `f64`: slow, obvious, the oracle of the tests |
//!
//! # Determinism
//!
//! Work is cut into pieces by shape alone and run on rayon's global pool. A piece is computed
//! sequentially and pieces are reduced in a fixed order, so results are bit-identical for any number of threads.
//! They may differ in the last bits between instruction sets.
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
//! conv2d(&shape, &x, &weight, None, &mut y)?;
//! assert_eq!(y[0], 8.0); // a corner sees 2×2 pixels of 2 channels
//! assert_eq!(y[5], 18.0);
//! # Ok::<(), bn_inception_kernels::ShapeError>(())
//! ```

// Vector intrinsics and disjoint parallel writes into one strided tensor need `unsafe`; this crate exists
// so that nothing above it does. Every block carries its argument.
#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

// The unit tests share helpers with the integration tests, which know the crate by its name.
#[cfg(test)]
extern crate self as bn_inception_kernels;

pub mod batch_norm;
mod columns;
pub mod conv;
mod correlation;
mod disjoint;
pub mod infer;
pub mod pool;
pub mod reference;
mod scratch;
pub mod shape;
mod simd;
mod tile;
mod weight_grad;

pub use batch_norm::{
    BatchNormGradients, BatchNormParams, batch_norm_eval, batch_norm_train,
    batch_norm_train_backward,
};
pub use conv::{conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight};
pub use pool::{Pool2dShape, avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward};
pub use shape::{BatchNormShape, Conv2dShape, ShapeError};

/// The instruction set the training kernels use on this processor: `"avx512"`, `"avx2"`, `"neon"` or `"portable"`.
pub fn instruction_set() -> &'static str {
    tile::Tiles::best().name
}
