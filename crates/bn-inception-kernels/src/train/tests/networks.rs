//! Networks with every kind of layer.

use crate::infer::Placement;
use crate::train::{Activation, Conv, Layer, Network, Operation};

/// A network under construction.
pub(super) struct Plain {
    layers: Vec<Layer>,
    channels: Vec<usize>,
    epsilon: f64,
    activation: Activation,
    strided: Placement,
}

impl Plain {
    pub(super) fn new(source: Operation, activation: Activation, epsilon: f64, strided: Placement) -> Self {
        let mut new = Self { layers: Vec::new(), channels: Vec::new(), epsilon, activation, strided };
        let channels = if let Operation::Map { channels } = source { channels } else { 3 };
        new.push("source", &[], source, channels);
        new
    }

    fn push(&mut self, name: &str, inputs: &[usize], operation: Operation, channels: usize) -> usize {
        let name = format!("{name}{}", self.layers.len());
        self.layers.push(Layer { name, inputs: inputs.to_vec(), operation });
        self.channels.push(channels);
        self.layers.len() - 1
    }

    pub(super) fn conv(&mut self, input: usize, out_channels: usize, kernel: usize, stride: usize) -> usize {
        let padding = if stride == 2 && kernel == 3 { self.strided } else { Placement::both(kernel / 2, kernel / 2) };
        let in_channels = self.channels[input];
        let (epsilon, activation) = (self.epsilon, self.activation);
        let conv = Conv { in_channels, out_channels, kernel, stride, padding, epsilon, activation };
        self.push("conv", &[input], Operation::Conv(conv), out_channels)
    }

    pub(super) fn max(&mut self, input: usize, stride: usize, padding: Placement) -> usize {
        self.push("max", &[input], Operation::MaxPool { stride, padding }, self.channels[input])
    }

    pub(super) fn average(&mut self, input: usize, includes_padding: bool) -> usize {
        self.push("average", &[input], Operation::AveragePool { includes_padding }, self.channels[input])
    }

    pub(super) fn concat(&mut self, inputs: &[usize]) -> usize {
        let channels = inputs.iter().map(|&i| self.channels[i]).sum();
        self.push("concat", inputs, Operation::Concat, channels)
    }

    /// A block of stride 1 with four branches.
    pub(super) fn block(&mut self, x: usize, [a, b, c, d]: [usize; 4], includes_padding: bool) -> usize {
        let one = self.conv(x, a, 1, 1);
        let reduce = self.conv(x, b, 1, 1);
        let three = self.conv(reduce, b + 8, 3, 1);
        let reduce = self.conv(x, c, 1, 1);
        let double = self.conv(reduce, c + 4, 3, 1);
        let double = self.conv(double, c, 3, 1);
        let pool = self.average(x, includes_padding);
        let projection = self.conv(pool, d, 1, 1);
        self.concat(&[one, three, double, projection])
    }

    /// A block of stride 2.
    pub(super) fn halving(&mut self, x: usize, [a, b]: [usize; 2]) -> usize {
        let reduce = self.conv(x, a, 1, 1);
        let three = self.conv(reduce, a + 8, 3, 2);
        let reduce = self.conv(x, b, 1, 1);
        let double = self.conv(reduce, b, 3, 1);
        let double = self.conv(double, b + 3, 3, 2);
        let pool = self.max(x, 2, self.strided);
        self.concat(&[three, double, pool])
    }

    pub(super) fn mean(&mut self, x: usize) {
        self.push("mean", &[x], Operation::Mean, self.channels[x]);
    }

    pub(super) fn network(self) -> Network {
        Network { layers: self.layers }
    }
}

pub(super) const SAME: Placement = Placement { even: (0, 1), odd: (1, 1) };

fn relu() -> Plain {
    Plain::new(Operation::Images, Activation::Relu, 1e-3, Placement::both(1, 1))
}

/// Networks with every kind of layer, and sizes of input to run them with.
pub(super) fn networks() -> Vec<(&'static str, Network, Vec<[usize; 3]>)> {
    let mut all = Vec::new();
    let mut one = relu();
    let x = one.conv(0, 8, 7, 2);
    one.mean(x);
    all.push(("stem", one.network(), vec![[2, 8, 8], [3, 32, 31], [1, 7, 9]]));

    let mut whole = relu();
    let x = whole.conv(0, 20, 7, 2);
    let x = whole.max(x, 2, Placement { even: (0, 1), odd: (0, 0) });
    let x = whole.conv(x, 16, 1, 1);
    let x = whole.conv(x, 24, 3, 1);
    let x = whole.max(x, 2, SAME);
    let x = whole.block(x, [8, 24, 16, 40], true);
    let x = whole.halving(x, [24, 8]);
    let x = whole.block(x, [40, 8, 16, 24], false);
    let pool = whole.max(x, 1, Placement::both(1, 1));
    let projection = whole.conv(pool, 16, 1, 1);
    let one = whole.conv(x, 24, 1, 1);
    let x = whole.concat(&[one, projection]);
    whole.mean(x);
    all.push(("whole", whole.network(), vec![[2, 64, 64], [3, 45, 51]]));

    for (name, activation, epsilon) in [("sigmoid", Activation::Sigmoid, 1e-5), ("relu", Activation::Relu, 1e-4)] {
        let mut part = Plain::new(Operation::Map { channels: 21 }, activation, epsilon, SAME);
        let x = part.block(0, [8, 16, 24, 8], true);
        let x = part.halving(x, [16, 8]);
        part.block(x, [8, 8, 8, 8], false);
        all.push((name, part.network(), vec![[2, 9, 9], [1, 8, 6], [2, 13, 16]]));
    }

    let mut linear = Plain::new(Operation::Map { channels: 5 }, Activation::Identity, 1e-2, SAME);
    linear.conv(0, 24, 3, 1);
    all.push(("linear", linear.network(), vec![[2, 5, 4]]));

    let mut small = relu();
    let x = small.conv(0, 24, 3, 1);
    let one = small.conv(x, 8, 1, 1);
    let three = small.conv(x, 8, 3, 1);
    let x = small.concat(&[one, three]);
    let three = small.conv(x, 12, 3, 2);
    let pool = small.max(x, 2, Placement::both(1, 1));
    let x = small.concat(&[three, pool]);
    small.mean(x);
    all.push(("small", small.network(), vec![[2, 12, 12], [3, 9, 7], [1, 28, 28]]));
    all
}
