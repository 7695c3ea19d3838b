//! Inference of the whole folded network as one call.
//!
//! An [`Engine`] owns a [`Network`] — plain numbers, batch normalisation already folded into the convolutions — and runs it on
//! batches of images of any size. For each (batch, height, width) it plans once: which algorithm computes each convolution,
//! where each feature map lies in one arena, which steps run between two barriers. Filters are packed once per layer
//! and algorithm. Running a plan is a list of phases that a few threads go through in step.
//!
//! # Where things are
//!
//! | module      | what it holds                                                                      |
//! |-------------|------------------------------------------------------------------------------------|
//! | `network`   | the description of a folded network, and its errors                                |
//! | [`mod@reference`] | the network the obvious way in `f64`: the oracle of the tests                |
//! | `engine`    | packed filters, cached plans, calls                                                |
//! | `plan`      | phases of steps over one arena, and the check that every step stays in its tensors |
//! | `layers`    | the walk through the network that makes a plan                                     |
//! | `build`     | tensors, lifetimes and the numbers of each kind of step                            |
//! | `step`      | the steps, and how a thread does its share of each                                 |
//! | `direct`    | the step of a direct convolution                                                   |
//! | `fused`     | the step of a Winograd convolution                                                 |
//! | `kernel`    | the inner loops, written once over a vector type, for every instruction set        |
//! | `winograd`  | transforms of F(2×2, 3×3) and F(4×4, 3×3)                                          |
//! | `pack`      | filters in the order the inner loops read them                                     |
//! | `memory`    | aligned memory, arena assignment                                                   |
//! | `team`      | threads and barrier                                                                |
//!
//! # Layout
//!
//! A feature map is `[N][C/16][H + 2][W + 2][16]`: sixteen channels side by side, one pixel of zeros around each plane. The
//! border is the padding of convolutions and average pools, and as every map is the result of a ReLU, it also never wins a maximum.
//! The four branches of a block write their own channel blocks of one map, so that nothing is concatenated. Where a branch's width is
//! not a multiple of 16, its last block ends in channels that are always zero and that the next layer's filters skip.
//!
//! The 1×1 convolutions that read a block's input are one product with several destinations. An average pool and the 1×1 behind it
//! change places: both are linear, and the projection has fewer channels. Bias and ReLU follow the pool.
//!
//! # How a model becomes a [`Network`]
//!
//! Everything is a plain field; [`Network::validate`] (called by [`Engine::new`]) checks lengths and extents.
//!
//! - **Convolutions.** For `z = conv(x) + b` and `y = γ (z − μ) / √(σ² + ε) + β`: [`Conv::weight`] is `w · γ / √(σ² + ε)` per
//!   output channel and [`Conv::bias`] is `(b − μ) γ / √(σ² + ε) + β`, best computed in `f64`. Absent `b` or `β` count as
//!   0, absent `γ` as one. Order is `[out, in, k, k]`, as in PyTorch and Burn. Input channels of a block follow the concatenation order 1×1, 3×3, double
//!   3×3, pool. Every convolution is followed by a ReLU; networks with sigmoid or local response normalisation are not described.
//! - **Stem.** [`Stem::ImageNet`] with the 7×7/2, 1×1 and 3×3 convolutions. A separable first convolution (depthwise with multiplier 8,
//!   then 1×1, nothing between) becomes a plain one by [`Conv::from_separable`]; fold the normalisation behind the 1×1 into the
//!   1×1's weight and bias first. The `small` preset is [`Stem::Small`] with its single 3×3.
//! - **Paddings** are [`Placement`]s, `(before, after)` for even and for odd sizes, the same rule for height and width:
//!
//!   | rule                                          | even     | odd      |
//!   |-----------------------------------------------|----------|----------|
//!   | 7×7/2 symmetric                               | `(3, 3)` | `(3, 3)` |
//!   | 7×7/2 TensorFlow `SAME`                       | `(2, 3)` | `(3, 3)` |
//!   | 3×3/2 symmetric convolution, padded floor pool | `(1, 1)` | `(1, 1)` |
//!   | 3×3/2 `SAME`, convolution or pool             | `(0, 1)` | `(1, 1)` |
//!   | 3×3/2 pool, ceil, in the stem                 | `(0, 1)` | `(0, 0)` |
//!   | 3×3/2 pool, floor, in the stem                | `(0, 0)` | `(0, 0)` |
//!   | 3×3/2 pool of a block, ceil                   | `(0, 1)` | `(1, 1)` |
//!
//!   [`Network::block_padding`] and [`Network::block_pool`] are for blocks of stride 2; in blocks of stride 1 both are 1 all around.
//! - **Blocks.** Absent branches and reductions are `None`; [`Pool`] has the four pooling branches.
//! - **Classifier.** `[classes, channels]`, channels in the last block's concatenation order. Dropout disappears.
//!
//! # Determinism
//!
//! Every output is computed by one thread in an order that depends on batch, image size and instruction set only: results are bit-identical
//! for any number of threads. They may differ in the last bits between batch sizes, for which other algorithms may be best.
//!
//! # Values that are not finite
//!
//! NaN is kept by every step: convolutions, ReLU, maxima and means, as Burn's own operations keep it. A direct convolution carries
//! a NaN or an infinity to exactly the outputs whose window holds it. Winograd's method carries it to all outputs of the
//! tiles that read the pixel, and turns an infinity into NaN. At the logits, behind the global average, this makes no difference
//! for NaN: an image with a NaN pixel has only NaN logits, and no other image of the batch sees it. An infinite pixel gives
//! logits that are not finite; where plain sums would still tell infinity from NaN, or a ReLU would end a
//! negative infinity, Winograd's do not.
//!
//! # Example
//!
//! ```
//! use bn_inception_kernels::infer::{Block, Conv, Engine, Linear, Network, Options, Placement, Pool, Stem};
//!
//! let conv = |in_channels, out_channels, kernel: usize| Conv {
//!     weight: vec![0.1; out_channels * in_channels * kernel * kernel],
//!     bias: vec![0.0; out_channels],
//!     in_channels,
//!     out_channels,
//!     kernel,
//! };
//! let network = Network {
//!     stem: Stem::Small(conv(3, 8, 3)),
//!     blocks: vec![Block {
//!         name: "3a".to_owned(),
//!         stride: 1,
//!         conv_1x1: Some(conv(8, 4, 1)),
//!         reduce_3x3: None,
//!         conv_3x3: conv(8, 4, 3),
//!         reduce_double: None,
//!         conv_double: None,
//!         pool: Pool::Absent,
//!     }],
//!     block_padding: Placement::both(1, 1),
//!     block_pool: Placement::both(1, 1),
//!     average_includes_padding: true,
//!     classifier: Linear { weight: vec![1.0; 2 * 8], bias: vec![0.0; 2] },
//! };
//! let engine = Engine::new(network, &Options::default())?;
//! let images = vec![1.0; 5 * 3 * 8 * 8];
//! let mut logits = vec![0.0; 5 * 2];
//! engine.forward(&images, [5, 8, 8], &mut logits)?;
//! # Ok::<(), bn_inception_kernels::infer::NetworkError>(())
//! ```

mod build;
mod direct;
mod engine;
mod fused;
mod kernel;
mod layers;
mod memory;
mod network;
mod pack;
mod plan;
pub mod reference;
mod step;
mod team;
#[cfg(test)]
mod tests;
mod winograd;

pub use engine::{Engine, LayerTime, Options};
pub use network::{Block, Conv, Linear, Network, NetworkError, Placement, Pool, Stem};
pub use plan::Algorithm;
