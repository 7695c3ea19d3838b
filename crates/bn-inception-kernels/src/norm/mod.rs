//! Batch normalisation with the non-linearity after it, forward and backward, on one plane of a channel block.
//!
//! A plane is a slice of `height` rows of `[width][16]`, `row` floats apart.

mod function;
pub(crate) mod loops;
mod plane;

pub use function::Activation;
pub(crate) use function::{Function, Identity, Relu, Sigmoid};
pub(crate) use plane::{Channels, Lanes, Planes, Size};
