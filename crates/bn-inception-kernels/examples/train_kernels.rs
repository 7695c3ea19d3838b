//! Time of each step of BN-Inception's training, forward and backward, relative to the measured multiply-add peak.
//!
//! `cargo run --release -p bn-inception-kernels --example train_kernels [divide] [pixels] [batch]`: divisor of the
//! channel counts (default 2), input size (default 128), batch (default 64). `RAYON_NUM_THREADS` sets the number of
//! threads.

use std::time::Instant;

use bn_inception_kernels::infer::Placement;
use bn_inception_kernels::train::{
    Activation, Conv, GradientsOf, Layer, Network, Operation, Options, Parameters, Trainer,
};

/// Inception blocks of Figure 5: stride, then widths of 1×1, 3×3 reduce, 3×3, double 3×3 reduce, double 3×3 and pool
/// projection, zero for none.
const BLOCKS: [(usize, [usize; 6]); 10] = [
    (1, [64, 64, 64, 64, 96, 32]),
    (1, [64, 64, 96, 64, 96, 64]),
    (2, [0, 128, 160, 64, 96, 0]),
    (1, [224, 64, 96, 96, 128, 128]),
    (1, [192, 96, 128, 96, 128, 128]),
    (1, [160, 128, 160, 128, 160, 128]),
    (1, [96, 128, 192, 160, 192, 128]),
    (2, [0, 128, 192, 192, 256, 0]),
    (1, [352, 192, 320, 160, 224, 128]),
    (1, [352, 192, 320, 192, 224, 128]),
];

struct Builder {
    layers: Vec<Layer>,
    channels: Vec<usize>,
}

impl Builder {
    fn push(&mut self, inputs: &[usize], operation: Operation, channels: usize) -> usize {
        let kind = match operation {
            Operation::Conv(conv) => format!("{}x{}/{}", conv.kernel, conv.kernel, conv.stride),
            Operation::MaxPool { .. } => "max".to_owned(),
            Operation::AveragePool { .. } => "average".to_owned(),
            _ => "map".to_owned(),
        };
        self.layers.push(Layer { name: kind, inputs: inputs.to_vec(), operation });
        self.channels.push(channels);
        self.layers.len() - 1
    }

    fn conv(&mut self, input: usize, out_channels: usize, kernel: usize, stride: usize) -> usize {
        let conv = Conv {
            in_channels: self.channels[input],
            out_channels,
            kernel,
            stride,
            padding: Placement::both(kernel / 2, kernel / 2),
            epsilon: 1e-5,
            activation: Activation::Relu,
        };
        self.push(&[input], Operation::Conv(conv), out_channels)
    }

    fn max(&mut self, input: usize, stride: usize) -> usize {
        let padding = if stride == 1 { Placement::both(1, 1) } else { Placement { even: (0, 1), odd: (1, 1) } };
        self.push(&[input], Operation::MaxPool { stride, padding }, self.channels[input])
    }
}

fn network(divide: usize) -> Network {
    let mut b = Builder { layers: Vec::new(), channels: Vec::new() };
    let x = b.push(&[], Operation::Images, 3);
    let x = b.conv(x, 64 / divide, 7, 2);
    let x = b.max(x, 2);
    let x = b.conv(x, 64 / divide, 1, 1);
    let x = b.conv(x, 192 / divide, 3, 1);
    let mut x = b.max(x, 2);
    for (i, (stride, widths)) in BLOCKS.into_iter().enumerate() {
        let [one, reduce, three, reduce_double, double, projection] = widths.map(|w| w / divide);
        let mut branches = Vec::new();
        if one > 0 {
            branches.push(b.conv(x, one, 1, 1));
        }
        let reduced = b.conv(x, reduce, 1, 1);
        branches.push(b.conv(reduced, three, 3, stride));
        let reduced = b.conv(x, reduce_double, 1, 1);
        let first = b.conv(reduced, double, 3, 1);
        branches.push(b.conv(first, double, 3, stride));
        let pool = match (stride, i) {
            (2, _) | (_, 9) => b.max(x, stride),
            _ => b.push(&[x], Operation::AveragePool { includes_padding: true }, b.channels[x]),
        };
        branches.push(if projection > 0 { b.conv(pool, projection, 1, 1) } else { pool });
        let channels = branches.iter().map(|&i| b.channels[i]).sum();
        x = b.push(&branches, Operation::Concat, channels);
    }
    b.push(&[x], Operation::Mean, b.channels[x]);
    Network { layers: b.layers }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (divide, pixels, batch) = (next(2)?, next(128)?, next(64)?);
    let trainer = Trainer::new(network(divide), &Options::default())?;
    let mut state = 1u32;
    let mut random = |scale: f32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 24) as f32 - 0.5) * scale
    };
    let weights: Vec<Vec<f32>> =
        trainer.network().convs().map(|conv| (0..conv.weight_len()).map(|_| random(0.1)).collect()).collect();
    let parameters: Vec<Parameters<'_>> =
        weights.iter().map(|weight| Parameters { weight, scale: None, shift: None, normalize: true }).collect();
    let images: Vec<f32> = (0..batch * 3 * pixels * pixels).map(|_| random(2.0)).collect();
    let size = [batch, pixels, pixels];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let forward = trainer.forward(&images, size, &parameters, GradientsOf::Parameters)?;
        let middle = start.elapsed().as_secs_f64();
        let gradient = vec![1.0; forward.output.len()];
        if let Some(tape) = forward.tape {
            trainer.backward(tape, &parameters, &gradient)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{:8.2} ms/image, forward {:.2}", 1e3 * seconds / batch as f64, 1e3 * middle / batch as f64);
        best = best.min(seconds);
    }
    let peak = trainer.peak();
    println!(
        "{} threads, {}, peak {:.0} G multiply-adds/s each, working memory {} MiB",
        trainer.threads(),
        trainer.instruction_set(),
        peak / 1e9,
        trainer.memory() >> 20
    );
    let mut all = trainer.profile(&images, size, &parameters)?;
    all.sort_by_key(|layer| std::cmp::Reverse(layer.time));
    let total: f64 = all.iter().map(|layer| layer.time.as_secs_f64()).sum();
    for layer in all {
        let seconds = layer.time.as_secs_f64();
        let fraction = layer.macs as f64 / trainer.threads() as f64 / seconds / peak;
        println!(
            "{:50} {:8.3} ms/image {:5.1} %  of the peak {:.2}",
            layer.name,
            1e3 * seconds / batch as f64,
            100.0 * seconds / total,
            fraction
        );
    }
    Ok(())
}
