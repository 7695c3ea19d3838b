//! Convolutions in the blocked layout: direct sums, Winograd's method, weight gradients.

pub(crate) mod direct;
pub(crate) mod filters;
pub(crate) mod transform;
pub(crate) mod weight_gradient;
pub(crate) mod winograd;
pub(crate) mod winograd_gradient;
