//! Builder of a training plan: tensors and their lifetimes, and the parameters of each kind of step.

use std::sync::Arc;

use crate::conv::direct::{DirectConv, images_together};
use crate::conv::filters::Packed;
use crate::conv::weight_gradient::WeightGradient;
use crate::conv::winograd::WinogradConv;
use crate::conv::winograd_gradient::{WinogradGradient, WinogradGradientOutput};
use crate::plan::border::Border;
use crate::plan::layout::{BLOCK, ChannelMap, FeatureMap, View};
use crate::plan::memory::{Aligned, Lifetime};
use crate::simd::kernels::{Kernels, PixelStride};

use super::filters::{Channel, Order, Pack, Unpack};
use super::maps::{Pool, PoolKind};
use super::normalization::{Normalization, Pass};
use super::step::{Op, Step};
use crate::pool::Shape;

/// Phases under construction.
pub(super) struct Builder {
    pub(super) kernels: &'static Kernels,
    pub(super) threads: usize,
    pub(super) phases: Vec<Vec<Step>>,
    pub(super) tensors: Vec<Lifetime>,
    pub(super) scratch: usize,
    neutral: Arc<[Aligned; 2]>,
}

/// The filters of a product: output channels, input channels, element of the filter at each tap.
pub(super) struct Filters {
    pub(super) lanes: Vec<Option<Channel>>,
    pub(super) channels: Vec<Option<Channel>>,
    pub(super) taps: Vec<Vec<Option<usize>>>,
}

/// Input of a convolution: view from the first pixel of the first window, and the extents from there.
pub(super) struct Windows {
    pub(super) from: View,
    pub(super) blocks: usize,
    /// Number of channels of a block that are not always zero.
    pub(super) depth: usize,
    /// Distance of two windows in pixels.
    pub(super) stride: usize,
    /// Row and column of each tap.
    pub(super) taps: Vec<[usize; 2]>,
    /// Number of rows and columns readable from the view.
    pub(super) readable: [usize; 2],
}

/// Output of a convolution.
pub(super) struct Target {
    /// View of each output channel block.
    pub(super) to: Vec<View>,
    pub(super) to_step: usize,
    pub(super) images: usize,
    pub(super) size: [usize; 2],
    pub(super) accumulate: bool,
}

impl Windows {
    fn offset(&self, [row, column]: [usize; 2]) -> usize {
        row * self.from.row + column * BLOCK
    }

    /// Winograd scheme for these windows and an output of `tiles(m)` tiles of `m × m`: the one with the fewest
    /// multiplications among those that reuse a transformed filter often enough.
    fn scheme(&self, tiles: impl Fn(usize) -> usize) -> Option<usize> {
        match (self.stride, self.taps.len()) {
            (1, 9) if self.depth == BLOCK => match (tiles(4), tiles(2)) {
                (14.., _) => Some(1),
                (_, 8..) => Some(0),
                _ => None,
            },
            (1, 16) if tiles(3) >= 14 => Some(2),
            _ => None,
        }
    }
}

impl Builder {
    pub(super) fn new(kernels: &'static Kernels, threads: usize) -> Self {
        let mut neutral = [Aligned::zeroed(kernels.oc), Aligned::zeroed(kernels.oc)];
        neutral[1].as_mut_slice().fill(f32::NEG_INFINITY);
        Self { kernels, threads, phases: vec![Vec::new()], tensors: Vec::new(), scratch: 0, neutral: Arc::new(neutral) }
    }

    pub(super) fn tensor(&mut self, len: usize) -> usize {
        let phase = self.phases.len() - 1;
        self.tensors.push(Lifetime { len, first: phase, last: phase });
        self.tensors.len() - 1
    }

    /// A new feature map without defined contents, not even zeros in its border.
    pub(super) fn bare_map(&mut self, images: usize, channels: Arc<ChannelMap>, size: [usize; 2]) -> FeatureMap {
        let mut map = FeatureMap { tensor: 0, first: 0, images, size, channels };
        map.tensor = self.tensor(images * map.view_with_border(0).image);
        map
    }

    /// A new feature map; the current phase clears its border.
    pub(super) fn map(&mut self, images: usize, channels: Arc<ChannelMap>, size: [usize; 2]) -> FeatureMap {
        let map = self.bare_map(images, channels, size);
        self.push("border", 0, Op::Border(Border::of(&map)), &[]);
        map
    }

    /// Adds a step to the current phase.
    pub(super) fn push(&mut self, name: &str, macs: usize, op: Op, uses: &[usize]) {
        let phase = self.phases.len() - 1;
        for &tensor in uses {
            self.tensors[tensor].last = phase;
        }
        let shares = match &op {
            // Each share transforms its own inputs, and reads all pixels.
            Op::Winograd(op) => {
                let groups = op.tiles()[2].div_ceil(op.group);
                if groups >= 16 * self.threads { 4 * self.threads } else { self.threads }
            }
            Op::WeightGradient(_) | Op::WinogradGradient(_) => self.threads,
            _ => 8 * self.threads,
        };
        self.phases[phase].push(Step { name: name.to_owned(), macs: macs as u64, op, shares });
    }

    /// Starts a phase, unless the current one is empty: its steps see the results of all steps before.
    pub(super) fn barrier(&mut self) {
        if self.phases.last().is_some_and(|steps| !steps.is_empty()) {
            self.phases.push(Vec::new());
        }
    }

    fn pack(&mut self, name: &str, filters: Filters, order: Order) -> Packed {
        let Filters { mut lanes, channels, taps } = filters;
        let oc = self.kernels.oc;
        lanes.resize(lanes.len().next_multiple_of(oc), None);
        let mut pack = Pack { lanes, channels, taps, order, to: 0 };
        pack.to = self.tensor(pack.lanes.len() / oc * pack.tile_len(oc));
        let packed = pack.packed(oc);
        self.push(name, 0, Op::Pack(pack), &[]);
        packed
    }

    /// A convolution: a step of the current phase that packs its filters, and one of the next that computes it.
    pub(super) fn convolve(&mut self, name: &str, filters: Filters, from: &Windows, target: Target) {
        let Target { to, to_step, images, size, accumulate } = target;
        let tiles = |m: usize| images * size[0].div_ceil(m) * size[1].div_ceil(m);
        let scheme = from.scheme(tiles).filter(|_| to_step == BLOCK);
        let inputs = filters.channels.iter().flatten().count();
        let outputs = filters.lanes.iter().flatten().count();
        let macs = images * size[0] * size[1] * inputs * outputs * from.taps.len();
        let order = scheme.map_or(Order::Direct { depth: from.depth }, Order::Winograd);
        let filters = Arc::new(self.pack(&format!("{name} filters"), filters, order));
        let mut uses: Vec<usize> = to.iter().map(|view| view.tensor).collect();
        uses.extend([from.from.tensor].into_iter().chain(filters.tensor));
        self.barrier();
        let [height, width] = size;
        let (op, algorithm) = match scheme {
            Some(scheme) => {
                let op = WinogradConv {
                    scheme,
                    from: from.from,
                    readable: from.readable,
                    blocks: from.blocks,
                    depth: from.depth,
                    filters,
                    to,
                    accumulate,
                    images,
                    height,
                    width,
                    group: 0,
                    offsets: Vec::new(),
                    neutral: self.neutral.clone(),
                };
                let op = op.grouped(self.kernels.pixels());
                self.scratch = self.scratch.max(op.scratch(self.kernels.oc));
                (Op::Winograd(op), ["F2", "F4", "F3"][scheme])
            }
            None => {
                let taps = || from.taps.iter().map(|&tap| from.offset(tap));
                let offsets = (0..from.blocks).flat_map(|b| taps().map(move |tap| b * from.from.plane + tap));
                let op = Op::Direct(DirectConv {
                    from: from.from,
                    row: from.stride * from.from.row,
                    pixel_stride: if from.stride == 1 { PixelStride::Block } else { PixelStride::TwoBlocks },
                    offsets: offsets.collect(),
                    depth: from.depth,
                    group: images_together(&filters, from.from.image),
                    filters,
                    to,
                    to_step,
                    accumulate,
                    images,
                    height,
                    width,
                });
                (op, "Direct")
            }
        };
        self.push(&format!("{name} {algorithm}"), macs, op, &uses);
    }

    /// The gradient of filters: a step of the current phase that computes it, and one of the next that unpacks it.
    pub(super) fn weight_gradient(
        &mut self,
        name: &str,
        filters: Filters,
        from: &Windows,
        gradient: View,
        images: usize,
        size: [usize; 2],
    ) {
        let Filters { lanes, channels, taps } = filters;
        let (blocks, out_blocks) = (from.blocks, lanes.len() / BLOCK);
        let inputs = channels.iter().flatten().count();
        let macs = images * size[0] * size[1] * inputs * lanes.iter().flatten().count() * from.taps.len();
        let name = format!("{name} weight gradient");
        let uses = [from.from.tensor, gradient.tensor];
        let tensor = self.tensor(from.taps.len() * blocks * out_blocks * BLOCK * BLOCK);
        let tiles = images * size[0].div_ceil(4) * size[1].div_ceil(4);
        if (from.stride, from.taps.len(), from.depth) == (1, 9, BLOCK) && tiles >= 16 {
            let mut op = WinogradGradient {
                from: from.from,
                readable: from.readable,
                blocks,
                gradient,
                out_blocks,
                images,
                size,
                to: 0,
            };
            op.to = self.tensor(op.len());
            self.scratch = self.scratch.max(op.scratch());
            let sums = op.to;
            self.push(&format!("{name} F3"), macs, Op::WinogradGradient(op), &uses);
            self.barrier();
            let (channels, columns) = (blocks * BLOCK, out_blocks * BLOCK);
            let op = WinogradGradientOutput { from: sums, to: tensor, channels, columns };
            self.push(&name, 0, Op::WinogradGradientOutput(op), &[sums, tensor]);
        } else {
            let taps = from.taps.iter().map(|&tap| from.offset(tap)).collect();
            let (stride, to, from) = (from.stride, tensor, from.from);
            let op = WeightGradient { from, blocks, stride, taps, gradient, out_blocks, images, size, to };
            self.push(&format!("{name} Direct"), macs, Op::WeightGradient(op), &uses);
        }
        self.barrier();
        let channels = channels.into_iter().chain(std::iter::repeat(None)).take(from.blocks * BLOCK).collect();
        self.push(&name, 0, Op::Unpack(Unpack { from: tensor, channels, lanes, taps }), &[tensor]);
    }

    pub(super) fn normalize(&mut self, name: &str, normalization: &Normalization, pass: Pass) {
        let Normalization { sums, constants, z, .. } = normalization;
        let uses = match &pass {
            Pass::Moments => vec![*sums, z.tensor],
            Pass::Constants | Pass::GradientConstants => vec![*sums, *constants],
            Pass::Activate { to } => vec![*constants, z.tensor, to.tensor],
            Pass::GradientSums { from } => vec![*sums, *constants, z.tensor, from.tensor],
            Pass::Gradient { from, to } => vec![*constants, z.tensor, from.tensor, to.tensor],
        };
        self.push(&format!("{name} normalization"), 0, Op::Normalization(normalization.clone(), pass), &uses);
    }

    /// A pool from `x` to `y`, with the gradient `dx` of its input in a backward pass.
    pub(super) fn pool(
        &mut self,
        name: &str,
        kind: PoolKind,
        (stride, padding): (usize, [usize; 2]),
        [x, y, dx]: [(View, [usize; 2]); 3],
        images: usize,
        blocks: usize,
    ) {
        let shape = Shape { size: x.1, out: y.1, stride, padding, rows: [x.0.row, y.0.row] };
        let op = Pool { shape, images, blocks, x: x.0, y: y.0, dx: dx.0, kind };
        self.push(name, 0, Op::Pool(op), &[x.0.tensor, y.0.tensor, dx.0.tensor]);
    }
}
