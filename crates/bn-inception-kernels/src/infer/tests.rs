//! Tests of single loops, single layers and whole plans on every instruction set, in guarded memory filled with NaN.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/guard.rs"]
mod guard;
mod harness;
mod layer_test;
mod layers;
mod loops;
#[path = "../../tests/common/networks.rs"]
mod networks;
mod plans;
mod stem;

use super::network::{Block, Conv, Linear, Network, Placement, Stem};
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

fn conv(from: usize, to: usize, kernel: usize, mut value: impl FnMut() -> f32) -> Conv {
    Conv {
        weight: (0..from * to * kernel * kernel).map(|_| value()).collect(),
        bias: (0..to).map(|_| value()).collect(),
        in_channels: from,
        out_channels: to,
        kernel,
    }
}

/// A network without layers, for its paddings.
fn paddings(stride: Placement, pool: Placement, include: bool) -> Network {
    let none = || conv(1, 1, 1, || 0.0);
    Network {
        stem: Stem::Small(none()),
        blocks: Vec::<Block>::new(),
        block_padding: stride,
        block_pool: pool,
        average_includes_padding: include,
        classifier: Linear {
            weight: Vec::new(),
            bias: Vec::new(),
        },
    }
}
