//! Updates of a network's weights: gradients by name, clipping, SGD with momentum, averaged weights.
//!
//! A custom training loop needs four calls a step:
//!
//! ```
//! use bn_inception::{Preset, burn::tensor::{Device, Int, Tensor}};
//! use bn_inception_train::{cross_entropy, optim::{self, DecayScope, Sgd, SgdConfig}};
//!
//! let device = Device::flex().autodiff();
//! let mut model = Preset::Small.config().with_width(0.1).with_classes(3).init(&device)?;
//! let mut sgd = Sgd::new(SgdConfig {
//!     momentum: 0.9,
//!     nesterov: true,
//!     weight_decay: 5e-4,
//!     decay_scope: DecayScope::Weights,
//! });
//! # let images = || Tensor::<4>::ones([2, 3, 28, 28], &device);
//! for _ in 0..2 {
//!     let targets = Tensor::<1, Int>::from_data([0, 2], &device);
//!     let loss = cross_entropy(model.forward(images()), targets, 0.1).mean();
//!     let gradients = optim::gradients(&model, loss.backward());
//!     model = sgd.step(model, 0.01, gradients);
//! }
//! # Ok::<(), bn_inception::ConfigError>(())
//! ```

mod clip;
mod ema;
mod parameters;
mod sgd;

pub use clip::{add, clip_by_global_norm, scaled};
pub use ema::Ema;
pub use parameters::{NamedTensors, gradients, replace, update, values};
pub use sgd::{DecayScope, Sgd, SgdConfig};
