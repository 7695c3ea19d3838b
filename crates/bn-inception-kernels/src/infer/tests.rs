//! Tests of single loops, single layers and whole plans on every instruction set, in guarded memory filled with NaN.
#![allow(clippy::unwrap_used)]

mod harness;
mod layer_test;
mod layers;
mod loops;
#[path = "../../tests/kernels/networks.rs"]
mod networks;
mod plans;
mod stem;

use super::network::Conv;
use crate::common::{self, Random, relative_rms};
use crate::guard;
use crate::plan::window::Placement;

fn conv(
    [in_channels, out_channels]: [usize; 2],
    (kernel, stride, padding): (usize, usize, Placement),
    mut value: impl FnMut() -> f32,
) -> Conv {
    let weights = in_channels * out_channels * kernel * kernel;
    Conv {
        weight: (0..weights).map(|_| value()).collect(),
        bias: (0..out_channels).map(|_| value()).collect(),
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
    }
}
