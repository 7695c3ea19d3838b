//! A single layer between two maps, with drawn extents.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::guard::{FLUSH, Flush};
use super::rig::{Arena, Rig};
use super::{Random, conv, paddings};
use crate::infer::build::{Builder, Map};
use crate::infer::kernel::{BLOCK, Kernels};
use crate::infer::network::{Conv, Network, Placement};
use crate::infer::pack::{ChannelMap, Part, padded};
use crate::infer::plan::{Algorithm, Filters, Setting};

/// The larger, or NaN if one is.
fn most(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// What to put between two maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Layer {
    Pointwise,
    Conv { stride: usize },
    Max { stride: usize },
    Average,
}

pub(super) struct Case {
    pub(super) kernels: &'static Kernels,
    pub(super) algorithm: Algorithm,
    pub(super) layer: Layer,
    pub(super) network: Network,
    pub(super) conv: Conv,
    pub(super) images: usize,
    pub(super) size: [usize; 2],
    /// `[images][in_channels][size]`.
    pub(super) input: Vec<f32>,
    pub(super) threads: usize,
    pub(super) flush: Flush,
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
    pub(super) fn run(&self) -> Vec<f32> {
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
        let mut rig = Rig::new(b, self.threads, Arena::Apart, self.flush);
        for phase in 0..rig.phases.len() {
            // SAFETY: no step of these phases reads input or output.
            unsafe { rig.phase(phase, std::ptr::null(), std::ptr::null_mut()) };
            if phase == 0 {
                self.fill(&from, rig.tensor(from.tensor));
            }
        }
        let arena = rig.tensor(to.tensor);
        let channels = match self.layer {
            Layer::Max { .. } => self.conv.in_channels,
            _ => self.conv.out_channels,
        };
        let plane: usize = self.out_size().iter().product();
        let mut out = vec![0.0; images * channels * plane];
        self.each(&to, channels, |image, at, plane| {
            out[image + plane] = arena[at];
        });
        // Nothing but the layer's own pixels and the border was written.
        let place = to.place(0);
        for n in 0..images {
            for y in 0..to.size[0] {
                let at = place.at + n * place.image + y * place.row;
                let row = &arena[at..at + to.size[1] * BLOCK];
                assert!(
                    row.iter().all(|v| v.is_nan()),
                    "a step wrote to another branch"
                );
            }
        }
        out
    }

    /// Writes the input's channels, and zeros to the hole and to the end of the last block, as the writer of a map leaves them.
    fn fill(&self, from: &Map, to: &mut [f32]) {
        let plane = self.size[0] * self.size[1];
        for n in 0..self.images {
            for (physical, channel) in from.channels.iter().enumerate() {
                let place = from.place(physical / BLOCK);
                for pixel in 0..plane {
                    let (y, x) = (pixel / self.size[1], pixel % self.size[1]);
                    let at =
                        place.at + n * place.image + y * place.row + x * BLOCK + physical % BLOCK;
                    to[at] = channel.map_or(0.0, |c| {
                        self.input[(n * self.conv.in_channels + c) * plane + pixel]
                    });
                }
            }
        }
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

    pub(super) fn expected(&self) -> Vec<f64> {
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
                        Layer::Max { .. } => (0..9).filter_map(|t| pixel(o, t, 3)).fold(0.0, most),
                        Layer::Average => {
                            let all: Vec<f64> = (0..9).filter_map(|t| pixel(o, t, 3)).collect();
                            let count = if self.network.average_includes_padding {
                                9
                            } else {
                                all.len()
                            };
                            let mean = all.iter().sum::<f64>() / count as f64;
                            most(mean + f64::from(self.conv.bias[o]), 0.0)
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
                            most(sum, 0.0)
                        }
                    });
                }
            }
        }
        values
    }
}

/// Before, after; for an even and for an odd number of pixels.
const PLACEMENTS: [Placement; 5] = [
    Placement::both(0, 0),
    Placement::both(1, 1),
    Placement::both(1, 0),
    Placement {
        even: (0, 1),
        odd: (1, 1),
    },
    Placement {
        even: (0, 1),
        odd: (0, 0),
    },
];

pub(super) const LAYERS: [Layer; 6] = [
    Layer::Pointwise,
    Layer::Conv { stride: 1 },
    Layer::Conv { stride: 2 },
    Layer::Max { stride: 1 },
    Layer::Max { stride: 2 },
    Layer::Average,
];

/// Images, height and width, input and output channels, threads, padding, seed.
pub(super) type Extents = (usize, [usize; 2], [usize; 2], usize, usize, u64);

/// Tails of every kind: channels around one to five blocks, widths around one and two register tiles of every instruction set.
pub(super) fn extents() -> impl Strategy<Value = Extents> {
    let channels = || 1usize..if cfg!(miri) { 18 } else { 70 };
    let pixels = || 3usize..if cfg!(miri) { 5 } else { 36 };
    (
        1usize..if cfg!(miri) { 2 } else { 4 },
        [pixels(), pixels()],
        [channels(), channels()],
        1usize..5,
        0..PLACEMENTS.len(),
        1u64..1 << 40,
    )
}

/// Calls `check` with drawn extents; a failing case is reported with the smallest extents that fail.
pub(super) fn any_extents(check: impl Fn(Extents) -> Result<(), TestCaseError>) {
    let config = Config {
        cases: if cfg!(miri) { 1 } else { 24 },
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    if let Err(error) = runner.run(&extents(), check) {
        panic!("{error}");
    }
}

pub(super) fn case(
    kernels: &'static Kernels,
    layer: Layer,
    algorithm: Algorithm,
    integers: bool,
    (images, size, [in_channels, out_channels], threads, placement, seed): Extents,
) -> Case {
    let mut random = Random(seed);
    let (out_channels, kernel) = match layer {
        Layer::Average => (in_channels, 1),
        Layer::Conv { .. } => (out_channels, 3),
        Layer::Pointwise | Layer::Max { .. } => (out_channels, 1),
    };
    let (include, flush) = (random.below(2) == 0, FLUSH[random.below(2)]);
    let mut value = || match integers {
        true => random.below(9) as f32 - 4.0,
        false => random.normal(),
    };
    let conv = conv(in_channels, out_channels, kernel, &mut value);
    // After a ReLU, as every map of the engine.
    let input = (0..images * in_channels * size[0] * size[1])
        .map(|_| value().max(0.0))
        .collect();
    let placement = PLACEMENTS[placement];
    Case {
        kernels,
        algorithm,
        layer,
        network: paddings(placement, placement, include),
        conv,
        images,
        size,
        input,
        threads,
        flush,
    }
}
