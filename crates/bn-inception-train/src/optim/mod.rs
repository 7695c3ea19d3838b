//! Updates of a network's weights: SGD with momentum, Muon for filters, averaged weights, norms and clipping.
//!
//! Values, gradients, velocity and average are one flat buffer each ([`Flat`]), with an index of names. On CPU devices
//! each step is one parallel pass over them; results are the same for any number of threads.
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
//!     muon: None,
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
//!
//! To clip by the global norm, scale the gradients by [`clip_factor`] of [`Norms::global`]. To average the weights, call
//! [`Ema::update`] with the model's [`values`] after each step, and put [`Ema::average`] into `model.valid()` with
//! [`replace`].

mod ema;
mod flat;
mod muon;
mod norms;
mod parameters;
mod sgd;
mod update;

pub use ema::Ema;
pub use flat::{Flat, Slot};
pub use norms::{Norms, clip_factor};
pub use parameters::{gradients, replace, values};
pub use sgd::{DecayScope, Sgd, SgdConfig};
