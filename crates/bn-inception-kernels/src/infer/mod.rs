//! Inference of a whole folded network in one call.
//!
//! An [`Engine`] owns a [`Network`], plain numbers with batch normalisation already folded into the convolutions, and
//! runs it on batches of images of any size. It plans once for each (batch, height, width): the algorithm of each
//! convolution, the position of each feature map in one arena, the steps between two barriers. Filters are packed once
//! per layer and algorithm. A plan is a list of phases that a few threads run in step.
//!
//! # Where things are
//!
//! | module            | contents                                                                              |
//! |-------------------|---------------------------------------------------------------------------------------|
//! | `network`         | description of a folded network                                                       |
//! | `validate`        | the checks of such a description                                                      |
//! | `prefix`          | the layers of a call: the whole network, or those up to one                           |
//! | `separable`       | a separable convolution as a plain one                                                |
//! | [`mod@reference`] | reference implementation of the network in `f64`, for the tests                       |
//! | `engine`          | calls, packed filters, cached plans                                                   |
//! | `plan`            | phases of steps over one arena, and the check that every step stays in its tensors    |
//! | `layers`          | the layers of the network as steps of a plan                                          |
//! | `maps`            | the feature maps of the layers, and which layer writes where                          |
//! | `build`           | builder of a plan: tensors, lifetimes, parameters of each kind of step                |
//! | `step`            | the steps, and a thread's share of each                                               |
//! | `pack`            | filters in the order in which the inner loops read them                               |
//!
//! The rest is shared with [`train`](crate::train): convolutions in `conv`, the inner loops in `simd`; layout, arena,
//! copies to `[N, C, H, W]`, cached plans, threads, paddings and errors in `plan`.
//!
//! # Layout
//!
//! A feature map is `[N][C/16][H + 2][W + 2][16]`: sixteen channels side by side, and a border of one pixel of zeros
//! around each plane. The border is the padding of convolutions and average pools; since every map is the result of a
//! ReLU, it never changes a maximum either. The inputs of a concatenation write their own channel blocks of its map, so
//! that nothing is copied. If the width of an input is not a multiple of 16, its last channel block ends in channels
//! that are always zero and that the filters of the next layer skip.
//!
//! The 1×1 convolutions of one map are one product with several destinations. An average pool and the 1×1
//! convolution after it are exchanged: both are linear, and the projection has fewer channels. Bias and ReLU follow the
//! pool.
//!
//! # From a model to a [`Network`]
//!
//! All fields are public; [`Network::validate`] (called by [`Engine::new`]) checks them.
//!
//! - **Convolutions.** For `z = conv(x) + b` and `y = γ (z − μ) / √(σ² + ε) + β`, [`Conv::weight`] is
//!   `w · γ / √(σ² + ε)` per output channel and [`Conv::bias`] is `(b − μ) γ / √(σ² + ε) + β`, best computed in `f64`.
//!   A missing `b` or `β` counts as 0, a missing `γ` as 1. The order is `[out, in, k, k]`, as in PyTorch and Burn.
//!   Every convolution is followed by a ReLU; sigmoids and local response normalisation cannot be described.
//!   A separable convolution (depthwise, directly followed by a 1×1) becomes a plain one by [`merge_separable`]; the
//!   normalisation after the 1×1 has to be folded into the weight and bias of the 1×1 first.
//! - **Paddings** are [`Placement`]s, `(before, after)` for even and for odd sizes, the same rule for height and width:
//!
//!   | rule                                           | even     | odd      |
//!   |------------------------------------------------|----------|----------|
//!   | 7×7/2 symmetric                                | `(3, 3)` | `(3, 3)` |
//!   | 7×7/2 TensorFlow `SAME`                        | `(2, 3)` | `(3, 3)` |
//!   | 3×3/2 symmetric convolution, padded floor pool | `(1, 1)` | `(1, 1)` |
//!   | 3×3/2 `SAME`, convolution or pool              | `(0, 1)` | `(1, 1)` |
//!   | 3×3/2 pool, ceil, unpadded                     | `(0, 1)` | `(0, 0)` |
//!   | 3×3/2 pool, floor, unpadded                    | `(0, 0)` | `(0, 0)` |
//!   | 3×3/2 pool, ceil, padded                       | `(0, 1)` | `(1, 1)` |
//!
//! - **Classifier.** `[classes, channels]`. Dropout is omitted.
//!
//! # Feature maps
//!
//! A network need not end in a classifier: the output of one that ends in a convolution, a max pool or a concatenation is
//! that layer's feature map, in NCHW order. A call on a longer network may end at any such layer, too
//! ([`Engine::forward_to`]), with the map or with the means over its pixels as its output. It computes nothing after the
//! layer, and shares network and packed filters with the other calls on the engine; only its plan is its own.
//!
//! # Determinism
//!
//! Every output is computed by one thread in an order that depends on batch, image size and instruction set only, so
//! results are bit-identical for any number of threads. They may differ in the last bits between batch sizes, which may
//! use different algorithms.
//!
//! # Non-finite values
//!
//! Every step propagates NaN: convolutions, ReLU, maxima and means, like Burn's own operations. A direct convolution
//! propagates a NaN or an infinity to exactly the outputs whose window contains it. Winograd convolutions propagate it
//! to all outputs of the tiles that read the pixel, and turn an infinity into NaN. For NaN this makes no difference to
//! the logits, which follow the global average: an image with a NaN pixel has only NaN logits, and no other image of
//! the batch is affected. An infinite pixel gives logits that are not finite; plain sums might still distinguish
//! infinity from NaN, or a ReLU might clamp a negative infinity, where Winograd convolutions give NaN.
//!
//! # Example
//!
//! ```
//! use bn_inception_kernels::infer::{Conv, End, Engine, Layer, Linear, Network, Operation, Options, Placement};
//!
//! let conv = |in_channels, out_channels, kernel: usize| {
//!     Operation::Conv(Conv {
//!         weight: vec![0.1; out_channels * in_channels * kernel * kernel],
//!         bias: vec![0.0; out_channels],
//!         in_channels,
//!         out_channels,
//!         kernel,
//!         stride: 1,
//!         padding: Placement::both(kernel / 2, kernel / 2),
//!     })
//! };
//! let linear = Linear { weight: vec![1.0; 2 * 8], bias: vec![0.0; 2] };
//! let layer = |name: &str, inputs: &[usize], operation| Layer {
//!     name: name.to_owned(),
//!     inputs: inputs.to_vec(),
//!     operation,
//! };
//! let network = Network {
//!     layers: vec![
//!         layer("stem.conv1", &[], conv(3, 8, 3)),
//!         layer("3a.conv_1x1", &[0], conv(8, 4, 1)),
//!         layer("3a.conv_3x3", &[0], conv(8, 4, 3)),
//!         layer("3a", &[1, 2], Operation::Concat),
//!         layer("classifier", &[3], Operation::Classifier(linear)),
//!     ],
//! };
//! let engine = Engine::new(network, &Options::default())?;
//! let images = vec![1.0; 5 * 3 * 8 * 8];
//! let mut logits = vec![0.0; 5 * 2];
//! engine.forward(&images, [5, 8, 8], &mut logits)?;
//!
//! // The feature map of layer 3, the concatenation.
//! assert_eq!(engine.output_shape_at(End::Layer(3), [5, 8, 8])?, [5, 8, 8, 8]);
//! let mut map = vec![0.0; 5 * 8 * 8 * 8];
//! engine.forward_to(End::Layer(3), &images, [5, 8, 8], &mut map)?;
//! # Ok::<(), bn_inception_kernels::infer::NetworkError>(())
//! ```

mod build;
mod engine;
mod layers;
mod maps;
mod network;
mod pack;
mod plan;
mod prefix;
pub mod reference;
mod separable;
mod step;
#[cfg(test)]
mod tests;
mod validate;

pub use crate::plan::error::NetworkError;
pub use crate::plan::precision::{Precision, UnknownPrecision};
pub use crate::plan::time::LayerTime;
pub use crate::plan::window::Placement;
pub use build::Algorithm;
pub use engine::{Engine, Options};
pub use network::{Conv, Layer, Linear, Network, Operation};
pub use prefix::End;
pub use separable::merge_separable;
