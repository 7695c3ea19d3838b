//! Builder of a plan: its tensors and their lifetimes, and the parameters of each kind of step.

use std::sync::Arc;

use super::network::Conv;
use super::pack::{FilterCache, FilterLayout, Part};
use super::step::{Average, Op, Pooling, Step};
use crate::conv::direct::{DirectConv, images_together};
use crate::conv::filters::Packed;
use crate::conv::winograd::WinogradConv;
use crate::plan::border::Border;
use crate::plan::layout::{BLOCK, ChannelMap, FeatureMap, View};
use crate::plan::memory::{Aligned, Lifetime};
use crate::plan::window::{Placement, reciprocals};
use crate::simd::kernels::{Kernels, PixelStride};

/// Algorithm of a stride-1 3×3 convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Direct sums over the nine taps.
    Direct,
    /// Winograd's F(2×2, 3×3): 4/9 of the multiplications, the most accurate.
    F2,
    /// Winograd's F(4×4, 3×3): a quarter of the multiplications, twice the rounding error of direct sums.
    F4,
}

/// Configuration of a plan, besides the network.
pub(crate) struct PlanConfig<'a> {
    pub(crate) kernels: &'static Kernels,
    /// Number of threads that pack filters.
    pub(crate) threads: usize,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) filters: &'a FilterCache,
}

pub(crate) struct Builder<'a> {
    pub(crate) config: &'a PlanConfig<'a>,
    pub(crate) phases: Vec<Vec<Step>>,
    pub(crate) tensors: Vec<Lifetime>,
    pub(crate) neutral: Arc<[Aligned; 2]>,
    pub(crate) scratch: usize,
    pub(crate) image: [usize; 2],
}

impl<'a> Builder<'a> {
    pub(crate) fn new(config: &'a PlanConfig<'a>, image: [usize; 2]) -> Self {
        let oc = config.kernels.oc;
        let mut nothing = [Aligned::zeroed(oc), Aligned::zeroed(oc)];
        nothing[1].as_mut_slice().fill(f32::NEG_INFINITY);
        Self { config, phases: vec![Vec::new()], tensors: Vec::new(), neutral: Arc::new(nothing), scratch: 0, image }
    }

    pub(crate) fn tensor(&mut self, len: usize) -> usize {
        let phase = self.phases.len() - 1;
        self.tensors.push(Lifetime { len, first: phase, last: phase });
        self.tensors.len() - 1
    }

    /// A new feature map; the current phase clears its border.
    pub(crate) fn map(&mut self, images: usize, channels: ChannelMap, size: [usize; 2]) -> FeatureMap {
        let mut map = FeatureMap { tensor: 0, first: 0, images, size, channels: Arc::new(channels) };
        let to = map.view_with_border(0);
        map.tensor = self.tensor(images * to.image);
        let op = Op::Border(Border::of(&map));
        self.push("border", 0, op, &[]);
        map
    }

    pub(crate) fn push(&mut self, name: &str, macs: usize, op: Op, uses: &[usize]) {
        let phase = self.phases.len() - 1;
        for &t in uses {
            self.tensors[t].last = phase;
        }
        let name = name.to_owned();
        self.phases[phase].push(Step { name, macs: macs as u64, op });
    }

    /// Starts a phase, unless the current one is empty: its steps see the results of all steps before.
    pub(crate) fn barrier(&mut self) {
        if self.phases.last().is_some_and(|steps| !steps.is_empty()) {
            self.phases.push(Vec::new());
        }
    }

    pub(crate) fn packed(
        &self,
        layer: usize,
        parts: &[Part<'_>],
        inputs: &ChannelMap,
        layout: FilterLayout,
    ) -> Arc<Packed> {
        let oc = self.config.kernels.oc;
        let threads = self.config.threads;
        let key = (layer, parts.len(), layout);
        self.config.filters.get(key, |allocator| Packed::new(parts, inputs, layout, oc, threads, allocator))
    }

    /// 1×1 convolutions of one input, each to its own channel blocks.
    pub(crate) fn pointwise(&mut self, name: &str, layer: usize, parts: &[Part<'_>], from: &FeatureMap, to: Vec<View>) {
        let view = from.view(0);
        let filters = self.packed(layer, parts, &from.channels, FilterLayout::Direct);
        let [height, width] = from.size;
        let outputs: usize = parts.iter().map(|p| p.conv.out_channels).sum();
        let macs = from.images * height * width * outputs * parts[0].conv.in_channels;
        let group = images_together(&filters, view.image);
        let mut uses: Vec<usize> = to.iter().map(|p| p.tensor).collect();
        uses.push(from.tensor);
        let op = Op::Direct(DirectConv {
            from: view,
            row: view.row,
            pixel_stride: PixelStride::Block,
            offsets: (0..from.blocks()).map(|b| b * view.plane).collect(),
            depth: BLOCK,
            filters,
            to,
            to_step: BLOCK,
            accumulate: false,
            images: from.images,
            height,
            width,
            group,
        });
        self.push(name, macs, op, &uses);
    }

    /// A 3×3 convolution to the channel blocks of `to` from `block` on.
    pub(crate) fn conv3(
        &mut self,
        name: &str,
        layer: usize,
        conv: &Conv,
        from: &FeatureMap,
        to: &FeatureMap,
        block: usize,
    ) {
        let [height, width] = to.size;
        let stride = conv.stride;
        let parts = [Part { conv, epilogue: true }];
        let blocks = conv.out_channels.div_ceil(BLOCK);
        let targets: Vec<View> = to.views(block, blocks).collect();
        let macs = from.images * height * width * conv.weight.len();
        let algorithm = match stride {
            1 => self.config.algorithm.unwrap_or_else(|| Self::choose(from)),
            _ => Algorithm::Direct,
        };
        let view = from.view(0);
        let op = match algorithm {
            Algorithm::Direct => {
                let [top, left] = from.size.map(|size| conv.padding.of(size).0);
                let mut offsets = Vec::new();
                for b in 0..from.blocks() {
                    for t in 0..9 {
                        offsets.push(b * view.plane + t / 3 * view.row + t % 3 * BLOCK);
                    }
                }
                let filters = self.packed(layer, &parts, &from.channels, FilterLayout::Direct);
                let group = images_together(&filters, view.image);
                Op::Direct(DirectConv {
                    from: View { offset: view.offset - top * view.row - left * BLOCK, ..view },
                    row: stride * view.row,
                    pixel_stride: if stride == 1 { PixelStride::Block } else { PixelStride::TwoBlocks },
                    offsets,
                    depth: BLOCK,
                    filters,
                    to: targets,
                    to_step: BLOCK,
                    accumulate: false,
                    images: from.images,
                    height,
                    width,
                    group,
                })
            }
            Algorithm::F2 | Algorithm::F4 => {
                let (scheme, layout) = match algorithm {
                    Algorithm::F4 => (1, FilterLayout::F4),
                    _ => (0, FilterLayout::F2),
                };
                self.winograd(WinogradConv {
                    scheme,
                    from: from.view_with_border(0),
                    readable: from.size.map(|s| s + 2),
                    blocks: from.blocks(),
                    depth: BLOCK,
                    filters: self.packed(layer, &parts, &from.channels, layout),
                    to: targets,
                    accumulate: false,
                    images: from.images,
                    height,
                    width,
                    group: 0,
                    offsets: Vec::new(),
                    neutral: self.neutral.clone(),
                })
            }
        };
        self.push(&format!("{name} {algorithm:?}"), macs, op, &[from.tensor, to.tensor]);
    }

    /// Completes a Winograd convolution with its group and offsets.
    pub(crate) fn winograd(&mut self, op: WinogradConv) -> Op {
        let op = op.grouped(self.config.kernels.pixels());
        self.scratch = self.scratch.max(op.scratch(self.config.kernels.oc));
        Op::Winograd(op)
    }

    /// Algorithm with the fewest multiplications among those that reuse the elements of a transformed filter often
    /// enough: there are 36 or 16 of them to read instead of 9.
    fn choose(from: &FeatureMap) -> Algorithm {
        let tiles = |m: usize| from.images * from.size[0].div_ceil(m) * from.size[1].div_ceil(m);
        match (tiles(4), tiles(2)) {
            (14.., _) => Algorithm::F4,
            (_, 8..) => Algorithm::F2,
            _ => Algorithm::Direct,
        }
    }

    pub(crate) fn max_pool(
        &mut self,
        name: &str,
        stride: usize,
        padding: Placement,
        from: &FeatureMap,
        to: &FeatureMap,
        block: usize,
    ) {
        let view = from.view(0);
        let [top, left] = from.size.map(|size| padding.of(size).0);
        let op = Op::Pooling(Pooling {
            from: View { offset: view.offset - top * view.row - left * BLOCK, ..view },
            to: to.view(block),
            stride,
            images: from.images,
            blocks: from.blocks(),
            height: to.size[0],
            width: to.size[1],
            average: None,
        });
        self.push(name, 0, op, &[from.tensor, to.tensor]);
    }

    /// An average pool, then bias and ReLU of `conv`, whose products are in `from`.
    pub(crate) fn average_pool(
        &mut self,
        name: &str,
        includes_padding: bool,
        conv: &Conv,
        from: &FeatureMap,
        to: &FeatureMap,
        block: usize,
    ) {
        let [height, width] = to.size;
        let scale = reciprocals(to.size, includes_padding);
        let op = Op::Pooling(Pooling {
            from: from.view_with_border(0),
            to: to.view(block),
            stride: 1,
            images: from.images,
            blocks: from.blocks(),
            height,
            width,
            average: Some(Average { epilogue: Arc::new(Packed::epilogue(conv)), scale }),
        });
        self.push(name, 0, op, &[from.tensor, to.tensor]);
    }
}
