//! Training of a whole network, or of a part of one, on the layout, loops and memory of the inference engine.
//!
//! A [`Trainer`] owns a [`Network`]: layers and extents, no numbers. [`Trainer::forward`] receives the [`Parameters`]
//! of every convolution with the input, and returns the output, the [`Statistics`] of the batch that moving averages
//! are made of, and a [`Tape`]. [`Trainer::backward`] turns the tape and the gradient of the output into the
//! [`Gradients`] of the parameters and, if asked for, the gradient of the input. A call is planned once for each
//! (batch, height, width) and kind of gradients, as a list of phases that a few threads run in step; the optimiser is
//! the caller's.
//!
//! # Where things are
//!
//! | module            | contents                                                                                |
//! |-------------------|-----------------------------------------------------------------------------------------|
//! | `network`         | description of a network, and its checks                                                |
//! | `call`            | the numbers of a call: parameters, gradients, statistics                                |
//! | [`mod@reference`] | reference implementation of a network in `f64`, for the tests                           |
//! | `engine`          | calls, tapes, cached plans                                                              |
//! | `plan`            | phases of steps over one arena, and the check that every step stays in its tensors      |
//! | `layers`          | the layers of the network, forward, as steps of a plan                                  |
//! | `backward`        | the backward pass of the layers, from last to first                                     |
//! | `build`           | builder of a plan: tensors, lifetimes, algorithms, parameters of each kind of step      |
//! | `step`            | the steps, and the number of shares of each                                             |
//! | `filters`         | steps that pack the filters of a call for the inner loops, and unpack their gradients   |
//! | `normalization`   | steps of batch normalisation and non-linearity over whole maps                          |
//! | `maps`            | steps of pools over whole maps, and copies from `[N, C, H, W]`                          |
//!
//! The rest is shared with [`infer`](crate::infer): convolutions in `conv`, the loops over one plane in `norm` and
//! `pool`, the inner loops in `simd`; layout, arena, copies to `[N, C, H, W]`, cached plans, threads, paddings and
//! errors in `plan`.
//!
//! # Layout
//!
//! Feature maps and their gradients are `[N][C/16][H + 2][W + 2][16]`, as in [`infer`](crate::infer): sixteen channels
//! side by side, and a border of one pixel around each plane, which is zero where a convolution of stride 1 reads it.
//! The inputs of a concatenation write their own channel blocks of its map, and read their gradients there. The 1×1
//! convolutions of one map are one product, forward and backward; an average pool and the 1×1 convolution after it are
//! exchanged.
//!
//! The gradient of a convolution's input is a convolution too, of the output's gradient with the filters rotated and
//! their channels exchanged: it uses the same loops, Winograd's method included. With stride 2 it is four convolutions,
//! one for each parity of row and column.
//!
//! # What a tape holds
//!
//! Each convolution's output before normalisation, its statistics, and the network's input. Everything else, the
//! outputs of non-linearities, pools and concatenations, is computed again where the backward pass needs it, which
//! costs less than its memory. The tape is the working memory of the call: it returns to the trainer when the backward
//! pass has used it or when it is dropped, so that the next call of the same size needs no other. Several tapes may
//! exist at once.
//!
//! # Determinism
//!
//! A step is split into shares, which the threads take as they are free. Every number is computed in one share, in an
//! order that depends on batch, size and instruction set only, so results are bit-identical for any number of threads.
//! They may differ in the last bits between instruction sets, and between batch sizes, which may use different
//! algorithms.
//!
//! # Non-finite values
//!
//! The forward pass propagates NaN. Statistics of the batch spread it: with normalisation, one NaN in the input makes
//! all outputs NaN; without, those of its image. Winograd convolutions turn an infinity into NaN. The gradients of the
//! filters are NaN then too; the gradient of a ReLU at NaN is zero, and that of a maximum goes to the first NaN of its
//! window.
//!
//! # Example
//!
//! ```
//! use bn_inception_kernels::infer::Placement;
//! use bn_inception_kernels::train::{
//!     Activation, Conv, GradientsOf, Layer, Network, Operation, Options, Parameters, Trainer,
//! };
//!
//! let conv = |in_channels, out_channels, kernel: usize| Conv {
//!     in_channels,
//!     out_channels,
//!     kernel,
//!     stride: 1,
//!     padding: Placement::both(kernel / 2, kernel / 2),
//!     epsilon: 1e-3,
//!     activation: Activation::Relu,
//! };
//! let layer = |name: &str, inputs: &[usize], operation| Layer {
//!     name: name.to_owned(),
//!     inputs: inputs.to_vec(),
//!     operation,
//! };
//! let network = Network {
//!     layers: vec![
//!         layer("input", &[], Operation::Map { channels: 8 }),
//!         layer("a.conv_1x1", &[0], Operation::Conv(conv(8, 4, 1))),
//!         layer("a.conv_3x3", &[0], Operation::Conv(conv(8, 6, 3))),
//!         layer("a", &[1, 2], Operation::Concat),
//!     ],
//! };
//! let trainer = Trainer::new(network, &Options::default())?;
//! let (one, three) = (vec![0.1; 4 * 8], vec![0.1; 6 * 8 * 9]);
//! let (scale, shift) = (vec![1.0; 6], vec![0.5; 6]);
//! let parameters = [
//!     // Normalisation only.
//!     Parameters { weight: &one, scale: None, shift: None, normalize: true },
//!     // Normalisation, γ and β. Without normalisation, `shift` is a bias.
//!     Parameters { weight: &three, scale: Some(&scale), shift: Some(&shift), normalize: true },
//! ];
//! let input = vec![1.0; 2 * 8 * 5 * 7];
//! let forward = trainer.forward(&input, [2, 5, 7], &parameters, GradientsOf::ParametersAndInput)?;
//! assert_eq!(forward.shape, [2, 10, 5, 7]);
//! let tape = forward.tape.expect("gradients were asked for");
//! let (gradients, input_gradient) = trainer.backward(tape, &parameters, &vec![1.0; forward.output.len()])?;
//! assert_eq!(gradients[1].weight.len(), three.len());
//! assert_eq!(input_gradient.expect("it was asked for").len(), input.len());
//! # Ok::<(), bn_inception_kernels::infer::NetworkError>(())
//! ```

mod backward;
mod build;
mod call;
mod engine;
mod filters;
mod layers;
mod maps;
mod network;
mod normalization;
mod plan;
pub mod reference;
mod step;
#[cfg(test)]
mod tests;

pub use crate::norm::Activation;
pub use call::{Gradients, GradientsOf, Parameters, Statistics};
pub use engine::{Forward, Options, Tape, Trainer};
pub use network::{Conv, Layer, Network, Operation};
