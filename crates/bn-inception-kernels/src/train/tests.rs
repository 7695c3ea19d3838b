//! Tests of the training engine against the reference in `f64`, on every instruction set.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::infer::{Engine, Placement};

/// Random numbers (xorshift).
struct Random(u64);

impl Random {
    fn normal(&mut self) -> f32 {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 40) as f32 / (1 << 24) as f32
        };
        ((0..4).map(|_| next()).sum::<f32>() - 2.0) * 1.7
    }

    fn normals(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.normal()).collect()
    }
}

struct Numbers {
    weight: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Numbers {
    fn new(conv: &Conv, random: &mut Random) -> Self {
        let scale = (2.0 / (conv.in_channels * conv.kernel * conv.kernel) as f32).sqrt();
        let channels = conv.out_channels;
        Self {
            weight: random.normals(conv.weight_len()).into_iter().map(|w| w * scale).collect(),
            gamma: random.normals(channels).into_iter().map(|g| 1.0 + 0.2 * g).collect(),
            beta: random.normals(channels).into_iter().map(|b| 0.2 * b).collect(),
        }
    }

    fn parameters(&self, normalize: bool) -> Parameters<'_> {
        Parameters { weight: &self.weight, scale: Some(&self.gamma), shift: Some(&self.beta), normalize }
    }
}

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

    fn average(&mut self, input: usize, includes_padding: bool) -> usize {
        self.push("average", &[input], Operation::AveragePool { includes_padding }, self.channels[input])
    }

    fn concat(&mut self, inputs: &[usize]) -> usize {
        let channels = inputs.iter().map(|&i| self.channels[i]).sum();
        self.push("concat", inputs, Operation::Concat, channels)
    }

    /// A block of stride 1 with four branches.
    fn block(&mut self, x: usize, [a, b, c, d]: [usize; 4], includes_padding: bool) -> usize {
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
    fn halving(&mut self, x: usize, [a, b]: [usize; 2]) -> usize {
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

const SAME: Placement = Placement { even: (0, 1), odd: (1, 1) };

fn relu() -> Plain {
    Plain::new(Operation::Images, Activation::Relu, 1e-3, Placement::both(1, 1))
}

/// Networks with every kind of layer, and sizes of input to run them with.
fn networks() -> Vec<(&'static str, Network, Vec<[usize; 3]>)> {
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

/// Distance of two vectors over the length of the second.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = square(&mut found.iter().zip(expected).map(|(&f, e)| f64::from(f) - e));
    difference / square(&mut expected.iter().copied()).max(1e-12)
}

fn options(instruction_set: &str, threads: usize) -> Options {
    Options { threads: std::num::NonZeroUsize::new(threads), instruction_set: Some(instruction_set.to_owned()) }
}

#[test]
fn gradients_are_those_of_the_reference() {
    for (name, network, sizes) in networks() {
        let mut random = Random(0x9e3779b97f4a7c15);
        let numbers: Vec<Numbers> = network.convs().map(|conv| Numbers::new(conv, &mut random)).collect();
        let images = network.layers[0].operation == Operation::Images;
        let wanted = if images { GradientsOf::Parameters } else { GradientsOf::ParametersAndInput };
        for [batch, height, width] in sizes {
            let channels = network.channels()[0];
            let input = random.normals(batch * channels * height * width);
            for normalize in [true, false] {
                let parameters: Vec<Parameters<'_>> = numbers.iter().map(|n| n.parameters(normalize)).collect();
                let mut reference: Option<reference::Results> = None;
                let mut output_gradient = Vec::new();
                for set in Engine::instruction_sets() {
                    let what = format!("{name} {batch}x{height}x{width} normalize {normalize} {set}");
                    let trainer = Trainer::new(network.clone(), &options(set, 2)).unwrap();
                    let found = trainer.forward(&input, [batch, height, width], &parameters, wanted).unwrap();
                    let expected = reference.get_or_insert_with(|| {
                        output_gradient = random.normals(found.output.len());
                        let dims = [batch, channels, height, width];
                        reference::run(&network, &input, dims, &parameters, &output_gradient)
                    });
                    assert!(distance(&found.output, &expected.output) < 1e-5, "{what}: output");
                    for ((i, found), [mean, variance]) in found.statistics.iter().enumerate().zip(&expected.statistics)
                    {
                        assert!(distance(&found.mean, mean) < 1e-4, "{what}: mean {i}");
                        assert!(distance(&found.variance, variance) < 1e-4, "{what}: variance {i}");
                    }
                    let tape = found.tape.unwrap();
                    let (gradients, input_gradient) = trainer.backward(tape, &parameters, &output_gradient).unwrap();
                    for ((i, found), expected) in gradients.iter().enumerate().zip(&expected.gradients) {
                        let d = distance(&found.weight, &expected.weight);
                        assert!(d < 1e-4, "{what}: weight {i}: {d:.1e}");
                        assert!(distance(&found.shift, &expected.shift) < 1e-4, "{what}: shift {i}");
                        assert!(distance(&found.scale, &expected.scale) < 1e-4, "{what}: scale {i}");
                    }
                    if let Some(found) = input_gradient {
                        let d = distance(&found, &expected.input_gradient);
                        assert!(d < 1e-4, "{what}: input {d:.1e}");
                    }
                }
            }
        }
    }
}
