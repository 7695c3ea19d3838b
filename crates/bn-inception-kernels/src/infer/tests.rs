//! Single layers on every instruction set with every algorithm, in memory full of NaN.
#![allow(clippy::unwrap_used)]

use super::build::{Builder, Map};
use super::kernel::{BLOCK, Kernels};
use super::memory::{Aligned, assign};
use super::network::{Block, Conv, Linear, Network, Placement, Stem};
use super::pack::{ChannelMap, Part, padded};
use super::plan::{Algorithm, Filters, Setting};
use super::step::Context;

/// A small generator of test values.
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

/// A network for its paddings alone.
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

/// What to put between two maps.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Pointwise,
    Conv { stride: usize },
    Max { stride: usize },
    Average,
}

struct Case {
    kernels: &'static Kernels,
    algorithm: Algorithm,
    layer: Layer,
    network: Network,
    conv: Conv,
    images: usize,
    size: [usize; 2],
    /// `[images][in_channels][size]`.
    input: Vec<f32>,
    threads: usize,
}

impl Case {
    fn out_size(&self) -> [usize; 2] {
        let padding = match self.layer {
            Layer::Conv { stride } => self.network.conv_padding(stride, self.size),
            Layer::Max { stride } => self.network.pool_padding(stride, self.size),
            Layer::Pointwise | Layer::Average => return self.size,
        };
        let stride = self.stride();
        std::array::from_fn(|a| (self.size[a] + padding[a].0 + padding[a].1 - 3) / stride + 1)
    }

    fn stride(&self) -> usize {
        match self.layer {
            Layer::Conv { stride } | Layer::Max { stride } => stride,
            Layer::Pointwise | Layer::Average => 1,
        }
    }

    /// `[images][out_channels][out_size]` from the engine. The first block of the output map is left to another branch.
    fn run(&self) -> Vec<f32> {
        let Case {
            kernels,
            images,
            size,
            ..
        } = *self;
        let filters = Filters::new();
        let setting = Setting {
            kernels,
            threads: self.threads,
            algorithm: Some(self.algorithm),
            filters: &filters,
        };
        let mut b = Builder::new(&self.network, &setting, size);
        // An input with a hole in its channels, as a concatenation of odd widths leaves. What is averaged has none.
        let mut channels: ChannelMap = padded(self.conv.in_channels);
        if !matches!(self.layer, Layer::Average) {
            channels.insert(0, None);
        }
        channels.resize(channels.len().next_multiple_of(BLOCK), None);
        let from = b.map(images, channels, size);
        b.barrier();
        let out_channels = match self.layer {
            Layer::Max { .. } => from.channels.to_vec(),
            _ => padded(self.conv.out_channels),
        };
        let mut shifted = vec![None; BLOCK];
        shifted.extend(&out_channels);
        let to = b.map(images, shifted, self.out_size());
        match self.layer {
            Layer::Pointwise => {
                let parts = [Part {
                    conv: &self.conv,
                    finish: true,
                }];
                let places = to.places(1, to.blocks() - 1).collect();
                b.pointwise("test", (0, 0), &parts, &from, places);
            }
            Layer::Conv { stride } => b.conv3("test", (0, 0), &self.conv, stride, &from, &to, 1),
            Layer::Max { stride } => {
                let padding = self.network.pool_padding(stride, size);
                b.max_pool("test", stride, padding, &from, &to, 1);
            }
            Layer::Average => b.average_pool("test", &self.conv, &from, &to, 1),
        }
        let Builder {
            phases,
            tensors,
            scratch,
            ..
        } = b;
        let (offsets, len) = assign(&tensors);
        let mut arena = Aligned::zeroed(len);
        arena.as_mut_slice().fill(f32::NAN);
        let mut scratch: Vec<Aligned> = (0..self.threads)
            .map(|_| Aligned::zeroed(scratch))
            .collect();
        for (p, phase) in phases.iter().enumerate() {
            for step in phase {
                for (thread, scratch) in scratch.iter_mut().enumerate() {
                    scratch.as_mut_slice().fill(f32::NAN);
                    let context = Context {
                        kernels,
                        threads: self.threads,
                        thread,
                        arena: arena.as_mut_ptr(),
                        offsets: &offsets,
                        scratch: scratch.as_mut_ptr(),
                        input: std::ptr::null(),
                        output: std::ptr::null_mut(),
                    };
                    // SAFETY: memory of the builder's extents, one thread after the other; no step reads input or output.
                    unsafe { step.op.run(&context) };
                }
            }
            if p == 0 {
                self.each(&from, self.conv.in_channels, |image, at, plane| {
                    arena.as_mut_slice()[offsets[from.tensor] + at] = self.input[image + plane];
                });
                // The hole and the end of the last block are zeros, as the writer of a map leaves them.
                for (c, channel) in from.channels.iter().enumerate() {
                    if channel.is_none() {
                        for n in 0..images {
                            let place = from.place(c / BLOCK);
                            for (y, x) in
                                (0..size[0]).flat_map(|y| (0..size[1]).map(move |x| (y, x)))
                            {
                                let at = place.at
                                    + n * place.image
                                    + y * place.row
                                    + x * BLOCK
                                    + c % BLOCK;
                                arena.as_mut_slice()[offsets[from.tensor] + at] = 0.0;
                            }
                        }
                    }
                }
            }
        }
        let channels = match self.layer {
            Layer::Max { .. } => self.conv.in_channels,
            _ => self.conv.out_channels,
        };
        let plane: usize = self.out_size().iter().product();
        let mut out = vec![0.0; images * channels * plane];
        self.each(&to, channels, |image, at, plane| {
            out[image + plane] = arena.as_mut_slice()[offsets[to.tensor] + at];
        });
        // Nothing but the layer's own pixels and the border was written.
        let place = to.place(0);
        for n in 0..images {
            for y in 0..to.size[0] {
                let at = offsets[to.tensor] + place.at + n * place.image + y * place.row;
                let row = &arena.as_mut_slice()[at..at + to.size[1] * BLOCK];
                assert!(
                    row.iter().all(|v| v.is_nan()),
                    "a step wrote to another branch"
                );
            }
        }
        out
    }

    /// Calls `f(image offset, offset in the tensor, offset in the image)` for every element of `[images][channels][size]`.
    fn each(&self, map: &Map, channels: usize, mut f: impl FnMut(usize, usize, usize)) {
        let [height, width] = map.size;
        for n in 0..self.images {
            for c in 0..channels {
                let physical = map.channels.iter().position(|&m| m == Some(c)).unwrap();
                let place = map.place(physical / BLOCK);
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let at =
                        place.at + n * place.image + y * place.row + x * BLOCK + physical % BLOCK;
                    f(
                        n * channels * height * width,
                        at,
                        (c * height + y) * width + x,
                    );
                }
            }
        }
    }

    fn expected(&self) -> Vec<f64> {
        let [height, width] = self.size;
        let out = self.out_size();
        let Conv {
            in_channels,
            out_channels,
            kernel,
            ..
        } = self.conv;
        let padding = match self.layer {
            Layer::Conv { stride } => self.network.conv_padding(stride, self.size),
            Layer::Max { stride } => self.network.pool_padding(stride, self.size),
            Layer::Pointwise => [(0, 0); 2],
            Layer::Average => [(1, 1); 2],
        };
        let stride = self.stride();
        let channels = match self.layer {
            Layer::Max { .. } => in_channels,
            _ => out_channels,
        };
        let mut values = Vec::new();
        for n in 0..self.images {
            for o in 0..channels {
                for (y, x) in (0..out[0]).flat_map(|y| (0..out[1]).map(move |x| (y, x))) {
                    let pixel = |i: usize, t: usize, k: usize| {
                        let y = (y * stride + t / k).checked_sub(padding[0].0)?;
                        let x = (x * stride + t % k).checked_sub(padding[1].0)?;
                        let inside = y < height && x < width;
                        let at = ((n * in_channels + i) * height + y) * width + x;
                        inside.then(|| f64::from(self.input[at]))
                    };
                    values.push(match self.layer {
                        Layer::Max { .. } => {
                            (0..9).filter_map(|t| pixel(o, t, 3)).fold(0.0, f64::max)
                        }
                        Layer::Average => {
                            let all: Vec<f64> = (0..9).filter_map(|t| pixel(o, t, 3)).collect();
                            let count = if self.network.average_includes_padding {
                                9
                            } else {
                                all.len()
                            };
                            let mean = all.iter().sum::<f64>() / count as f64;
                            (mean + f64::from(self.conv.bias[o])).max(0.0)
                        }
                        Layer::Pointwise | Layer::Conv { .. } => {
                            let mut sum = f64::from(self.conv.bias[o]);
                            for i in 0..in_channels {
                                for t in 0..kernel * kernel {
                                    let w = self.conv.weight
                                        [(o * in_channels + i) * kernel * kernel + t];
                                    sum += pixel(i, t, kernel).unwrap_or(0.0) * f64::from(w);
                                }
                            }
                            sum.max(0.0)
                        }
                    });
                }
            }
        }
        values
    }
}

const PLACEMENTS: [Placement; 3] = [
    Placement::both(1, 1),
    Placement {
        even: (0, 1),
        odd: (1, 1),
    },
    Placement {
        even: (0, 1),
        odd: (0, 0),
    },
];

/// A case with drawn extents; `integers` draws small whole numbers.
fn case(
    random: &mut Random,
    kernels: &'static Kernels,
    layer: Layer,
    algorithm: Algorithm,
    integers: bool,
) -> Case {
    let placement = PLACEMENTS[random.below(3)];
    let include = random.below(2) == 0;
    let size = [3 + random.below(28), 3 + random.below(33)];
    let images = 1 + random.below(3);
    let in_channels = 1 + random.below(70);
    let out_channels = match layer {
        Layer::Average => in_channels,
        _ => 1 + random.below(70),
    };
    let kernel = if matches!(layer, Layer::Conv { .. }) {
        3
    } else {
        1
    };
    let mut value = || match integers {
        true => random.below(9) as f32 - 4.0,
        false => random.normal(),
    };
    let conv = conv(in_channels, out_channels, kernel, &mut value);
    // After a ReLU, as every map of the engine.
    let input = (0..images * in_channels * size[0] * size[1])
        .map(|_| value().max(0.0))
        .collect();
    Case {
        kernels,
        algorithm,
        layer,
        network: paddings(placement, placement, include),
        conv,
        images,
        size,
        input,
        threads: 1 + random.below(4),
    }
}

#[test]
fn direct_layers_and_maxima_are_exact_on_integers() {
    let mut random = Random(1);
    for kernels in Kernels::available() {
        for layer in [
            Layer::Pointwise,
            Layer::Conv { stride: 1 },
            Layer::Conv { stride: 2 },
            Layer::Max { stride: 1 },
            Layer::Max { stride: 2 },
        ] {
            for _ in 0..12 {
                let case = case(&mut random, kernels, layer, Algorithm::Direct, true);
                let found: Vec<f64> = case.run().into_iter().map(f64::from).collect();
                assert!(
                    found == case.expected(),
                    "{} {layer:?} {:?}",
                    kernels.name,
                    case.size
                );
            }
        }
    }
}

#[test]
fn every_algorithm_keeps_its_error_gate() {
    let mut random = Random(2);
    for kernels in Kernels::available() {
        for (layer, algorithm, gate) in [
            (Layer::Pointwise, Algorithm::Direct, 1e-6),
            (Layer::Average, Algorithm::Direct, 1e-6),
            (Layer::Conv { stride: 1 }, Algorithm::Direct, 1e-6),
            (Layer::Conv { stride: 2 }, Algorithm::Direct, 1e-6),
            (Layer::Conv { stride: 1 }, Algorithm::F2, 1e-6),
            (Layer::Conv { stride: 1 }, Algorithm::F4, 2e-6),
        ] {
            for _ in 0..12 {
                let case = case(&mut random, kernels, layer, algorithm, false);
                let (found, expected) = (case.run(), case.expected());
                let square = |v: f64| v * v;
                let size: f64 = expected.iter().copied().map(square).sum();
                let error: f64 = found
                    .iter()
                    .zip(&expected)
                    .map(|(&f, e)| square(f64::from(f) - e))
                    .sum();
                let rms = (error / size.max(1e-30)).sqrt();
                assert!(
                    rms <= gate,
                    "{} {layer:?} {algorithm:?} {:?}: {rms:.2e} above {gate:.0e}",
                    kernels.name,
                    case.size
                );
            }
        }
    }
}

#[test]
fn one_thread_does_not_touch_what_another_one_does() {
    // Steps run thread after thread; a result that depends on their number would show an overlap or a gap.
    let mut random = Random(3);
    for kernels in Kernels::available() {
        for algorithm in [Algorithm::Direct, Algorithm::F2, Algorithm::F4] {
            let mut case = case(
                &mut random,
                kernels,
                Layer::Conv { stride: 1 },
                algorithm,
                false,
            );
            let results: Vec<Vec<u32>> = [1, 2, 3, 8]
                .into_iter()
                .map(|threads| {
                    case.threads = threads;
                    case.run().into_iter().map(f32::to_bits).collect()
                })
                .collect();
            assert!(
                results.iter().all(|r| *r == results[0]),
                "{} {algorithm:?}",
                kernels.name
            );
        }
    }
}
