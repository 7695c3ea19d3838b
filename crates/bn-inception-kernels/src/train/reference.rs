//! Reference implementation of a network in `f64`, forward and backward, for the tests of the engine.

use crate::norm::Activation;
use crate::plan::window::Placement;

use super::call::Parameters;
use super::network::{Conv, Network, Operation};

/// A tensor `[N, C, H, W]`.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// N, C, H, W.
    pub dims: [usize; 4],
    /// The elements.
    pub values: Vec<f64>,
}

/// Gradients of a convolution's parameters.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// Gradient of the filters.
    pub weight: Vec<f64>,
    /// Gradient of the scale.
    pub scale: Vec<f64>,
    /// Gradient of the shift.
    pub shift: Vec<f64>,
}

/// Results of a forward and a backward pass.
#[derive(Debug, Clone)]
pub struct Results {
    /// The network's output.
    pub output: Vec<f64>,
    /// Mean and biased variance of each convolution's output.
    pub statistics: Vec<[Vec<f64>; 2]>,
    /// Gradients of the parameters.
    pub gradients: Vec<Gradients>,
    /// Gradient of the input.
    pub input_gradient: Vec<f64>,
    /// Gradient of the first convolution's output before normalisation.
    pub first_conv_gradient: Vec<f64>,
    /// Distance of the nearest point with another gradient: the smallest distance of a ReLU's input from zero, or of a
    /// maximum from another number in its window.
    pub margin: f64,
}

impl Tensor {
    fn zeros(dims: [usize; 4]) -> Self {
        Self { dims, values: vec![0.0; dims.iter().product()] }
    }

    fn index(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        ((n * self.dims[1] + c) * self.dims[2] + y) * self.dims[3] + x
    }

    /// Every window of a plane: output position and, for each tap inside the map, the tap and the input position.
    fn windows(
        &self,
        kernel: usize,
        stride: usize,
        padding: Placement,
        mut visit: impl FnMut([usize; 2], &[(usize, [usize; 2])]),
    ) {
        let size = [self.dims[2], self.dims[3]];
        let out = self.out_size(kernel, stride, padding);
        for y in 0..out[0] {
            for x in 0..out[1] {
                let taps = (0..kernel * kernel).filter_map(|t| {
                    let row = (y * stride + t / kernel).checked_sub(padding.of(size[0]).0)?;
                    let column = (x * stride + t % kernel).checked_sub(padding.of(size[1]).0)?;
                    (row < size[0] && column < size[1]).then_some((t, [row, column]))
                });
                visit([y, x], &taps.collect::<Vec<_>>());
            }
        }
    }

    fn out_size(&self, kernel: usize, stride: usize, padding: Placement) -> [usize; 2] {
        [self.dims[2], self.dims[3]].map(|size| {
            let (before, after) = padding.of(size);
            (size + before + after - kernel) / stride + 1
        })
    }
}

fn activation(kind: Activation, y: f64) -> (f64, f64) {
    match kind {
        Activation::Relu => (y.max(0.0), f64::from(u8::from(y > 0.0))),
        Activation::Sigmoid => {
            let s = 1.0 / (1.0 + (-y).exp());
            (s, s * (1.0 - s))
        }
        Activation::Identity => (y, 1.0),
    }
}

/// Per-channel numbers of a normalisation.
struct Norm {
    mean: Vec<f64>,
    variance: Vec<f64>,
    /// 1 / √(variance + ε).
    inverse: Vec<f64>,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

fn convolve(x: &Tensor, conv: &Conv, weight: &[f32]) -> Tensor {
    let k = conv.kernel * conv.kernel;
    let [height, width] = x.out_size(conv.kernel, conv.stride, conv.padding);
    let mut z = Tensor::zeros([x.dims[0], conv.out_channels, height, width]);
    x.windows(conv.kernel, conv.stride, conv.padding, |[oy, ox], taps| {
        for n in 0..x.dims[0] {
            for o in 0..conv.out_channels {
                let mut sum = 0.0;
                for i in 0..conv.in_channels {
                    for &(t, [row, column]) in taps {
                        sum += x.values[x.index(n, i, row, column)]
                            * f64::from(weight[(o * conv.in_channels + i) * k + t]);
                    }
                }
                let at = z.index(n, o, oy, ox);
                z.values[at] = sum;
            }
        }
    });
    z
}

/// Adds to the gradients of input and filters.
fn convolve_backward(x: &Tensor, conv: &Conv, weight: &[f32], dz: &Tensor, dx: &mut Tensor, dw: &mut [f64]) {
    let k = conv.kernel * conv.kernel;
    x.windows(conv.kernel, conv.stride, conv.padding, |[oy, ox], taps| {
        for n in 0..x.dims[0] {
            for o in 0..conv.out_channels {
                let g = dz.values[dz.index(n, o, oy, ox)];
                for i in 0..conv.in_channels {
                    for &(t, [row, column]) in taps {
                        let (at, w) = (x.index(n, i, row, column), (o * conv.in_channels + i) * k + t);
                        dw[w] += g * x.values[at];
                        dx.values[at] += g * f64::from(weight[w]);
                    }
                }
            }
        }
    });
}

/// Per-channel visit of all values of a map: `visit(channel, position)`.
fn each(dims: [usize; 4], mut visit: impl FnMut(usize, usize)) {
    let plane = dims[2] * dims[3];
    for i in 0..dims.iter().product() {
        visit(i / plane % dims[1], i);
    }
}

fn normalization(z: &Tensor, conv: &Conv, parameters: &Parameters<'_>) -> Norm {
    let channels = conv.out_channels;
    let given = |values: Option<&[f32]>, absent: f64| match values {
        Some(values) => values.iter().map(|&v| f64::from(v)).collect(),
        None => vec![absent; channels],
    };
    let count = (z.values.len() / channels) as f64;
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let mut inverse = vec![1.0; channels];
    if parameters.normalize {
        each(z.dims, |c, i| mean[c] += z.values[i] / count);
        each(z.dims, |c, i| variance[c] += (z.values[i] - mean[c]).powi(2) / count);
        inverse = variance.iter().map(|v| 1.0 / (v + conv.epsilon).sqrt()).collect();
    } else {
        variance.fill(1.0);
    }
    Norm { mean, variance, inverse, scale: given(parameters.scale, 1.0), shift: given(parameters.shift, 0.0) }
}

fn average_count(taps: usize, includes_padding: bool) -> f64 {
    if includes_padding { 9.0 } else { taps as f64 }
}

/// Forward and backward pass of a valid network. `output_gradient` has the extents of the output.
pub fn run(
    network: &Network,
    input: &[f32],
    dims: [usize; 4],
    parameters: &[Parameters<'_>],
    output_gradient: &[f32],
) -> Results {
    let one = Placement::both(1, 1);
    let mut maps: Vec<Tensor> = Vec::new();
    let mut convs: Vec<(Tensor, Norm)> = Vec::new();
    for layer in &network.layers {
        let x = layer.inputs.first().map(|&i| maps[i].clone());
        let map = match (layer.operation, x) {
            (Operation::Conv(conv), Some(x)) => {
                let parameters = &parameters[convs.len()];
                let z = convolve(&x, &conv, parameters.weight);
                let norm = normalization(&z, &conv, parameters);
                let mut y = z.clone();
                each(z.dims, |c, i| {
                    let v = (z.values[i] - norm.mean[c]) * norm.inverse[c] * norm.scale[c] + norm.shift[c];
                    y.values[i] = activation(conv.activation, v).0;
                });
                convs.push((z, norm));
                y
            }
            (Operation::MaxPool { stride, padding }, Some(x)) => {
                let [height, width] = x.out_size(3, stride, padding);
                let mut y = Tensor::zeros([x.dims[0], x.dims[1], height, width]);
                x.windows(3, stride, padding, |[oy, ox], taps| {
                    for (n, c) in (0..x.dims[0]).flat_map(|n| (0..x.dims[1]).map(move |c| (n, c))) {
                        let values = taps.iter().map(|&(_, [row, column])| x.values[x.index(n, c, row, column)]);
                        let at = y.index(n, c, oy, ox);
                        y.values[at] = values.fold(f64::NEG_INFINITY, f64::max);
                    }
                });
                y
            }
            (Operation::AveragePool { includes_padding }, Some(x)) => {
                let mut y = Tensor::zeros(x.dims);
                x.windows(3, 1, one, |[oy, ox], taps| {
                    for (n, c) in (0..x.dims[0]).flat_map(|n| (0..x.dims[1]).map(move |c| (n, c))) {
                        let values = taps.iter().map(|&(_, [row, column])| x.values[x.index(n, c, row, column)]);
                        let at = y.index(n, c, oy, ox);
                        y.values[at] = values.sum::<f64>() / average_count(taps.len(), includes_padding);
                    }
                });
                y
            }
            (Operation::Concat, Some(x)) => {
                let channels = layer.inputs.iter().map(|&i| maps[i].dims[1]).sum();
                let mut y = Tensor::zeros([x.dims[0], channels, x.dims[2], x.dims[3]]);
                y.values.clear();
                for n in 0..x.dims[0] {
                    for &i in &layer.inputs {
                        let image = maps[i].values.len() / x.dims[0];
                        y.values.extend(&maps[i].values[n * image..(n + 1) * image]);
                    }
                }
                y
            }
            (Operation::Mean, Some(x)) => {
                let plane = x.dims[2] * x.dims[3];
                let means = x.values.chunks(plane).map(|plane| plane.iter().sum::<f64>() / plane.len() as f64);
                Tensor { dims: [x.dims[0], x.dims[1], 1, 1], values: means.collect() }
            }
            _ => Tensor { dims, values: input.iter().map(|&v| f64::from(v)).collect() },
        };
        maps.push(map);
    }
    let output = maps[maps.len() - 1].values.clone();
    let statistics = convs.iter().map(|(_, norm)| [norm.mean.clone(), norm.variance.clone()]).collect();

    let mut gradients: Vec<Gradients> = Vec::new();
    let (mut first_conv_gradient, mut margin) = (Vec::new(), f64::INFINITY);
    let mut of: Vec<Tensor> = maps.iter().map(|map| Tensor::zeros(map.dims)).collect();
    if let Some(last) = of.last_mut() {
        last.values = output_gradient.iter().map(|&v| f64::from(v)).collect();
    }
    for (i, layer) in network.layers.iter().enumerate().rev() {
        let Some(&from) = layer.inputs.first() else { continue };
        let (below, here) = of.split_at_mut(i);
        let (dy, x) = (&here[0], &maps[from]);
        let pairs = || (0..x.dims[0]).flat_map(|n| (0..x.dims[1]).map(move |c| (n, c)));
        match layer.operation {
            Operation::Conv(conv) => {
                let index = network.convs().count() - gradients.len() - 1;
                let (z, norm) = &convs[index];
                let count = (z.values.len() / conv.out_channels) as f64;
                let mut g = z.clone();
                let (mut sum, mut product) = (vec![0.0; conv.out_channels], vec![0.0; conv.out_channels]);
                let standard = |c: usize, i: usize| (z.values[i] - norm.mean[c]) * norm.inverse[c];
                each(z.dims, |c, i| {
                    let y = standard(c, i) * norm.scale[c] + norm.shift[c];
                    if conv.activation == Activation::Relu {
                        margin = margin.min(y.abs());
                    }
                    g.values[i] = dy.values[i] * activation(conv.activation, y).1;
                    sum[c] += g.values[i];
                    product[c] += g.values[i] * standard(c, i);
                });
                let of_batch = parameters[index].normalize;
                each(z.dims, |c, i| {
                    let through = if of_batch { (sum[c] + standard(c, i) * product[c]) / count } else { 0.0 };
                    g.values[i] = (g.values[i] - through) * norm.scale[c] * norm.inverse[c];
                });
                let mut weight = vec![0.0; conv.weight_len()];
                convolve_backward(x, &conv, parameters[index].weight, &g, &mut below[from], &mut weight);
                first_conv_gradient = g.values;
                gradients.push(Gradients { weight, scale: product, shift: sum });
            }
            Operation::MaxPool { stride, padding } => x.windows(3, stride, padding, |[oy, ox], taps| {
                for (n, c) in pairs() {
                    let at = |position: [usize; 2]| x.index(n, c, position[0], position[1]);
                    let most = taps.iter().map(|&(_, p)| x.values[at(p)]).fold(f64::NEG_INFINITY, f64::max);
                    let below_it = taps.iter().map(|&(_, p)| most - x.values[at(p)]).filter(|&d| d > 0.0);
                    margin = below_it.fold(margin, f64::min);
                    if let Some(&(_, first)) = taps.iter().find(|&&(_, p)| x.values[at(p)] == most) {
                        below[from].values[at(first)] += dy.values[dy.index(n, c, oy, ox)];
                    }
                }
            }),
            Operation::AveragePool { includes_padding } => x.windows(3, 1, one, |[oy, ox], taps| {
                for (n, c) in pairs() {
                    let g = dy.values[dy.index(n, c, oy, ox)] / average_count(taps.len(), includes_padding);
                    for &(_, [row, column]) in taps {
                        let at = x.index(n, c, row, column);
                        below[from].values[at] += g;
                    }
                }
            }),
            Operation::Concat => {
                let mut rest = &dy.values[..];
                for _ in 0..x.dims[0] {
                    for &part in &layer.inputs {
                        let image = maps[part].values.len() / x.dims[0];
                        let n = (dy.values.len() - rest.len()) / (dy.values.len() / x.dims[0]);
                        let (now, later) = rest.split_at(image);
                        for (to, g) in below[part].values[n * image..].iter_mut().zip(now) {
                            *to += g;
                        }
                        rest = later;
                    }
                }
            }
            Operation::Mean => {
                let plane = x.dims[2] * x.dims[3];
                for (to, g) in below[from].values.chunks_mut(plane).zip(&dy.values) {
                    to.iter_mut().for_each(|to| *to += g / plane as f64);
                }
            }
            Operation::Images | Operation::Map { .. } => {}
        }
    }
    gradients.reverse();
    let input_gradient = of[0].values.clone();
    Results { output, statistics, gradients, input_gradient, first_conv_gradient, margin }
}
