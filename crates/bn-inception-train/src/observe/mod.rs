//! Telemetry: the inside of the network while it trains, for the run log.
//!
//! Nothing here changes the run: it works on independent copies of the network on the plain device (no batch
//! statistics, no dropout, no random numbers), and the choice of steps depends on their number alone.

mod activations;
mod blocks;
mod encode;
mod filters;
mod grad_cam;
mod histogram;
mod machine;
mod observer;
mod predictions;
mod probe;

pub use activations::percentile;
pub(crate) use machine::Monitor;
pub(crate) use observer::Observer;
pub use observer::TELEMETRY_EVERY;
pub(crate) use predictions::Predictions;
