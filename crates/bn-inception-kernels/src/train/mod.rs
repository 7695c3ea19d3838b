//! Training of a whole network, or of a part of one, on the layout, loops and memory of the inference engine.
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
pub use call::{Gradients, Parameters, Statistics};
pub use engine::{Forward, GradientsOf, Options, Tape, Trainer};
pub use network::{Conv, Layer, Network, Operation};
