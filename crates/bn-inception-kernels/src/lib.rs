//! CPU engines for BN-Inception: inference of a folded network ([`infer`]), and training of a whole network or of a
//! part of one, forward and backward ([`train`]).
//!
//! Inputs and outputs are plain contiguous `f32` slices, images in NCHW order; the crate depends on no tensor library.
//! Both engines receive a description of the network, check it, plan a call once for each size of its input, and run
//! the plan on a few threads. A wrong extent is a [`NetworkError`](infer::NetworkError) that names the layer, never an
//! out-of-bounds access.
//!
//! # Where things are
//!
//! | module    | contents                                                                                        |
//! |-----------|-------------------------------------------------------------------------------------------------|
//! | [`infer`] | the inference engine: description of a folded network, filters packed once, cached plans        |
//! | [`train`] | the training engine: output, statistics of the batch, gradients of parameters and of the input  |
//! | `plan`    | what the plans of both consist of: feature maps in one arena, views of them, threads, a barrier |
//! | `conv`    | convolutions: direct sums, Winograd's method with its transforms, gradients of filters          |
//! | `norm`    | batch normalisation with the non-linearity after it, forward and backward                       |
//! | `pool`    | 3×3 pools, forward and backward                                                                 |
//! | `simd`    | the vector types AVX-512, AVX2, NEON and a portable one, and the inner loops over them          |
//!
//! A feature map is `[N][C/16][H + 2][W + 2][16]` in both engines: sixteen channels side by side, with a border of one
//! pixel around each plane, so that a window at the edge is like any other.
//!
//! # Determinism
//!
//! Every number is computed by one thread, in an order that does not depend on the number of threads or on which of
//! them is free first, so results are bit-identical for any number of threads. They may differ in the last bits between
//! instruction sets, and between batch sizes, which may use different algorithms.
//!
//! # Example
//!
//! One step of training: a convolution with batch normalisation and ReLU, then the mean over its map.
//!
//! ```
//! use bn_inception_kernels::infer::Placement;
//! use bn_inception_kernels::train::{
//!     Activation, Conv, GradientsOf, Layer, Network, Operation, Options, Parameters, Trainer,
//! };
//!
//! let layer = |name: &str, inputs: &[usize], operation| Layer {
//!     name: name.to_owned(),
//!     inputs: inputs.to_vec(),
//!     operation,
//! };
//! let conv = Conv {
//!     in_channels: 3,
//!     out_channels: 8,
//!     kernel: 3,
//!     stride: 1,
//!     padding: Placement::both(1, 1),
//!     epsilon: 1e-5,
//!     activation: Activation::Relu,
//! };
//! let network = Network {
//!     layers: vec![
//!         layer("images", &[], Operation::Images),
//!         layer("conv", &[0], Operation::Conv(conv)),
//!         layer("mean", &[1], Operation::Mean),
//!     ],
//! };
//! let trainer = Trainer::new(network, &Options::default())?;
//!
//! let mut weight: Vec<f32> = (0..conv.weight_len()).map(|i| (i as f32).sin()).collect();
//! let images: Vec<f32> = (0..2 * 3 * 6 * 6).map(|i| (i as f32).cos()).collect();
//! let loss = |weight: &[f32]| {
//!     let parameters = [Parameters { weight, scale: None, shift: None, normalize: true }];
//!     let forward = trainer.forward(&images, [2, 6, 6], &parameters, GradientsOf::Parameters)?;
//!     // The loss is half the sum of the squared outputs, so its gradient is the output itself.
//!     let loss = forward.output.iter().map(|y| y * y).sum::<f32>() / 2.0;
//!     let tape = forward.tape.expect("gradients were asked for");
//!     let (gradients, _) = trainer.backward(tape, &parameters, &forward.output)?;
//!     Ok::<_, bn_inception_kernels::infer::NetworkError>((loss, gradients))
//! };
//! let (before, gradients) = loss(&weight)?;
//! for (weight, gradient) in weight.iter_mut().zip(&gradients[0].weight) {
//!     *weight -= 0.1 * gradient;
//! }
//! let (after, _) = loss(&weight)?;
//! assert!(after < before);
//! # Ok::<(), bn_inception_kernels::infer::NetworkError>(())
//! ```

// Vector intrinsics, and threads that write to their own parts of one arena, need `unsafe`; this crate contains it, so
// that the crates above it need none. Every block states why it is sound.
#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

// The unit tests share helpers with the integration tests, which refer to the crate by its name.
#[cfg(test)]
extern crate self as bn_inception_kernels;

#[cfg(test)]
#[path = "../tests/kernels/common.rs"]
mod common;
mod conv;
#[cfg(test)]
#[path = "../tests/kernels/guard.rs"]
mod guard;
#[cfg(test)]
mod guarded;
pub mod infer;
mod norm;
mod plan;
mod pool;
mod simd;
pub mod train;

// The example of the README is a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
