//! Test of a single layer between two feature maps, with random extents.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::guard::{FLUSH, Flush};
use super::harness::Harness;
use super::{Random, conv};
use crate::guarded::Arena;
use crate::infer::build::{Algorithm, Builder, PlanConfig};
use crate::infer::network::Conv;
use crate::infer::pack::{FilterCache, Part};
use crate::plan::layout::{BLOCK, ChannelMap, FeatureMap, padded};
use crate::plan::window::Placement;
use crate::simd::kernels::Kernels;

/// The larger value, or NaN if either is NaN.
fn nan_max(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// The layer between two feature maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Layer {
    Pointwise,
    Conv { stride: usize },
    Max { stride: usize },
    Average,
}

pub(super) struct LayerTest {
    pub(super) kernels: &'static Kernels,
    pub(super) algorithm: Algorithm,
    pub(super) layer: Layer,
    /// The convolution; for a maximum its stride and padding, for an average its bias.
    pub(super) conv: Conv,
    pub(super) includes_padding: bool,
    pub(super) images: usize,
    pub(super) size: [usize; 2],
    /// Input, `[images][in_channels][size]`.
    pub(super) input: Vec<f32>,
    pub(super) threads: usize,
    pub(super) flush: Flush,
}

impl LayerTest {
    fn padding(&self) -> [(usize, usize); 2] {
        match self.layer {
            Layer::Average => [(1, 1); 2],
            _ => self.size.map(|size| self.conv.padding.of(size)),
        }
    }

    fn out_size(&self) -> [usize; 2] {
        let padding = self.padding();
        let kernel = match self.layer {
            Layer::Pointwise => 1,
            _ => 3,
        };
        std::array::from_fn(|a| (self.size[a] + padding[a].0 + padding[a].1 - kernel) / self.conv.stride + 1)
    }

    /// Output of the engine, `[images][out_channels][out_size]`. The first channel block of the output map belongs to
    /// another branch.
    pub(super) fn run(&self) -> Vec<f32> {
        let LayerTest { kernels, images, size, .. } = *self;
        let filters = FilterCache::new();
        let config = PlanConfig { kernels, threads: self.threads, algorithm: Some(self.algorithm), filters: &filters };
        let mut b = Builder::new(&config, size);
        // An input with a gap in its channels, like a concatenation of odd widths. The input of an average pool has
        // none.
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
                let parts = [Part { conv: &self.conv, epilogue: true }];
                let places = to.views(1, to.blocks() - 1).collect();
                b.pointwise("test", 0, &parts, &from, places);
            }
            Layer::Conv { .. } => b.conv3("test", 0, &self.conv, &from, &to, 1),
            Layer::Max { stride } => {
                b.max_pool("test", stride, self.conv.padding, &from, &to, 1);
            }
            Layer::Average => {
                let includes_padding = self.includes_padding;
                b.average_pool("test", includes_padding, &self.conv, &from, &to, 1);
            }
        }
        let mut harness = Harness::new(b, self.threads, Arena::Separate, self.flush);
        for phase in 0..harness.phases.len() {
            // SAFETY: no step of these phases reads input or output.
            unsafe { harness.phase(phase, std::ptr::null(), std::ptr::null_mut()) };
            if phase == 0 {
                self.fill(&from, harness.tensor(from.tensor));
            }
        }
        let arena = harness.tensor(to.tensor);
        let channels = match self.layer {
            Layer::Max { .. } => self.conv.in_channels,
            _ => self.conv.out_channels,
        };
        let plane: usize = self.out_size().iter().product();
        let mut out = vec![0.0; images * channels * plane];
        self.each(&to, channels, |image, at, plane| {
            out[image + plane] = arena[at];
        });
        // Only the pixels of the layer and the border were written.
        let view = to.view(0);
        for n in 0..images {
            for y in 0..to.size[0] {
                let at = view.offset + n * view.image + y * view.row;
                let row = &arena[at..at + to.size[1] * BLOCK];
                assert!(row.iter().all(|v| v.is_nan()), "a step wrote to another branch");
            }
        }
        out
    }

    /// Writes the channels of the input, and zeros to the gap and to the end of the last channel block, like the steps
    /// of a plan.
    fn fill(&self, from: &FeatureMap, to: &mut [f32]) {
        let plane = self.size[0] * self.size[1];
        for n in 0..self.images {
            for (physical, channel) in from.channels.iter().enumerate() {
                let view = from.view(physical / BLOCK);
                for pixel in 0..plane {
                    let (y, x) = (pixel / self.size[1], pixel % self.size[1]);
                    let at = view.offset + n * view.image + y * view.row + x * BLOCK + physical % BLOCK;
                    to[at] = channel.map_or(0.0, |c| self.input[(n * self.conv.in_channels + c) * plane + pixel]);
                }
            }
        }
    }

    /// Calls `f(image offset, offset in the tensor, offset in the image)` for every element of
    /// `[images][channels][size]`.
    fn each(&self, map: &FeatureMap, channels: usize, mut f: impl FnMut(usize, usize, usize)) {
        let [height, width] = map.size;
        for n in 0..self.images {
            for c in 0..channels {
                let physical = map.channels.iter().position(|&m| m == Some(c)).unwrap();
                let view = map.view(physical / BLOCK);
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let at = view.offset + n * view.image + y * view.row + x * BLOCK + physical % BLOCK;
                    f(n * channels * height * width, at, (c * height + y) * width + x);
                }
            }
        }
    }

    /// Expected output, in `f64`.
    pub(super) fn expected(&self) -> Vec<f64> {
        let [height, width] = self.size;
        let out = self.out_size();
        let Conv { in_channels, out_channels, kernel, .. } = self.conv;
        let (padding, stride) = (self.padding(), self.conv.stride);
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
                        Layer::Max { .. } => (0..9).filter_map(|t| pixel(o, t, 3)).fold(0.0, nan_max),
                        Layer::Average => {
                            let all: Vec<f64> = (0..9).filter_map(|t| pixel(o, t, 3)).collect();
                            let count = if self.includes_padding { 9 } else { all.len() };
                            let mean = all.iter().sum::<f64>() / count as f64;
                            nan_max(mean + f64::from(self.conv.bias[o]), 0.0)
                        }
                        Layer::Pointwise | Layer::Conv { .. } => {
                            let mut sum = f64::from(self.conv.bias[o]);
                            for i in 0..in_channels {
                                for t in 0..kernel * kernel {
                                    let w = self.conv.weight[(o * in_channels + i) * kernel * kernel + t];
                                    sum += pixel(i, t, kernel).unwrap_or(0.0) * f64::from(w);
                                }
                            }
                            nan_max(sum, 0.0)
                        }
                    });
                }
            }
        }
        values
    }
}

/// Paddings before and after, for an even and for an odd number of pixels.
const PLACEMENTS: [Placement; 5] = [
    Placement::both(0, 0),
    Placement::both(1, 1),
    Placement::both(1, 0),
    Placement { even: (0, 1), odd: (1, 1) },
    Placement { even: (0, 1), odd: (0, 0) },
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

/// Random extents with remainders of every kind: up to five channel blocks, and widths around one and two register
/// tiles of every instruction set.
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

/// Calls `check` with random extents; a failure is reported with minimal extents.
pub(super) fn any_extents(check: impl Fn(Extents) -> Result<(), TestCaseError>) {
    let config = Config { cases: if cfg!(miri) { 1 } else { 24 }, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    if let Err(error) = runner.run(&extents(), check) {
        panic!("{error}");
    }
}

pub(super) fn layer_test(
    kernels: &'static Kernels,
    layer: Layer,
    algorithm: Algorithm,
    integers: bool,
    (images, size, [in_channels, out_channels], threads, placement, seed): Extents,
) -> LayerTest {
    let mut random = Random(seed);
    let (one, drawn) = (Placement::both(1, 1), PLACEMENTS[placement]);
    let padded = |stride: usize| if stride == 1 { one } else { drawn };
    let (out_channels, window) = match layer {
        Layer::Average => (in_channels, (1, 1, Placement::both(0, 0))),
        Layer::Conv { stride } => (out_channels, (3, stride, padded(stride))),
        Layer::Max { stride } => (out_channels, (1, stride, padded(stride))),
        Layer::Pointwise => (out_channels, (1, 1, Placement::both(0, 0))),
    };
    let (includes_padding, flush) = (random.below(2) == 0, FLUSH[random.below(2)]);
    let mut value = || {
        if integers { random.below(9) as f32 - 4.0 } else { random.normal() }
    };
    let conv = conv([in_channels, out_channels], window, &mut value);
    // Not negative, like every feature map of the engine, which is the result of a ReLU.
    let input = (0..images * in_channels * size[0] * size[1]).map(|_| value().max(0.0)).collect();
    LayerTest { kernels, algorithm, layer, conv, includes_padding, images, size, input, threads, flush }
}
