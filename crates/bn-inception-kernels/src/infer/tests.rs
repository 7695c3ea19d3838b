//! Tests of single loops, single layers and whole plans on every instruction set, in guarded memory filled with NaN.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/kernels/common.rs"]
mod common;
#[path = "../../tests/kernels/guard.rs"]
mod guard;
mod harness;
mod layer_test;
mod layers;
mod loops;
#[path = "../../tests/kernels/networks.rs"]
mod networks;
mod plans;
mod stem;

use super::network::{Conv, Placement};
use common::relative_rms;

/// Random number generator (xorshift) for test values.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f32) as usize % n
    }

    fn normal(&mut self) -> f32 {
        ((0..4).map(|_| self.next()).sum::<f32>() - 2.0) * 1.7
    }
}

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
