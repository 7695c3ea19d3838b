//! The step of a Winograd convolution: input transform, products and output transform of one group of image tiles after
//! the other, in cache.

use std::ops::Range;
use std::sync::Arc;

use crate::conv::direct::{pieces, registers};
use crate::conv::filters::Packed;
use crate::conv::transform::Output;
use crate::plan::context::Context;
use crate::plan::layout::{BLOCK, View};
use crate::plan::memory::Aligned;
use crate::plan::team::share;
use crate::simd::kernels::{PixelStride, Product};

/// Number of rows of outputs and of inputs of an image tile: F(2×2, 3×3), F(4×4, 3×3), F(3×3, 4×4).
const SCHEMES: [(usize, usize); 3] = [(2, 4), (4, 6), (3, 6)];

/// A Winograd convolution of stride 1.
pub(crate) struct WinogradConv {
    /// Index into [`SCHEMES`].
    pub(crate) scheme: usize,
    /// View from the first pixel of the first window.
    pub(crate) from: View,
    /// Number of rows and columns readable from there; the pixels beyond count as zero.
    pub(crate) readable: [usize; 2],
    pub(crate) blocks: usize,
    /// Number of channels of a channel block that are not always zero.
    pub(crate) depth: usize,
    pub(crate) filters: Arc<Packed>,
    pub(crate) to: Vec<View>,
    /// True to add to the destinations instead of overwriting them.
    pub(crate) accumulate: bool,
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Maximum number of image tiles in work at once.
    pub(crate) group: usize,
    /// Offset of each input channel block in the transformed input.
    pub(crate) offsets: Vec<usize>,
    /// Zeros and negative infinities: neutral bias and floor for the product tiles before the output transform.
    pub(crate) neutral: Arc<[Aligned; 2]>,
}

impl WinogradConv {
    /// Number of rows of outputs of an image tile.
    pub(crate) fn outputs(&self) -> usize {
        SCHEMES[self.scheme].0
    }

    /// Number of rows of inputs of an image tile.
    pub(crate) fn inputs(&self) -> usize {
        SCHEMES[self.scheme].1
    }

    /// Number of image tiles down, across, and in all images.
    pub(crate) fn tiles(&self) -> [usize; 3] {
        let m = self.outputs();
        let (down, across) = (self.height.div_ceil(m), self.width.div_ceil(m));
        [down, across, self.images * down * across]
    }

    /// Stride between two positions of the transformed input, in floats. An extra cache line keeps them out of one
    /// cache set.
    pub(crate) fn v_stride(&self) -> usize {
        (self.blocks * self.group + 1) * BLOCK
    }

    /// Stride between two positions of the products, in floats.
    pub(crate) fn m_stride(&self, oc: usize) -> usize {
        self.group * oc + BLOCK
    }

    /// This convolution with its group and offsets: at most two full product tiles in work at once, so that filters are
    /// read from main memory once for both, and transformed inputs and products stay in the second-level cache.
    pub(crate) fn grouped(mut self, pixels: usize) -> Self {
        let [_, _, all] = self.tiles();
        self.group = all.div_ceil(all.div_ceil((2 * pixels).max(16)));
        self.offsets = (0..self.blocks).map(|b| b * self.group * BLOCK).collect();
        self
    }

    /// Number of floats of scratch memory.
    pub(crate) fn scratch(&self, oc: usize) -> usize {
        self.inputs().pow(2) * (self.v_stride() + self.m_stride(oc))
    }
}

impl WinogradConv {
    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let [_, _, all] = self.tiles();
        let groups = all.div_ceil(self.group);
        let tiles = self.filters.tiles;
        let positions = self.inputs().pow(2);
        let v = c.scratch;
        // SAFETY: the plan sized the scratch memory by `scratch()`.
        let m = unsafe { v.add(positions * self.v_stride()) };
        // Shares are counted in image tiles times tiles of output channels, so that they are equal even with only two
        // or three of either.
        let share_of_all = c.share(tiles * all);
        for group in 0..groups {
            let range = share(all, groups, group);
            let first = tiles * range.start;
            let start = share_of_all.start.max(first);
            let end = share_of_all.end.min(tiles * range.end);
            if start >= end {
                continue;
            }
            // SAFETY: as for `DirectConv::run`; `range` has at most `self.group` tiles.
            unsafe { self.transform_inputs(c, range.clone(), v) };
            let mut unit = start - first;
            while unit < end - first {
                let (tile, t) = (unit / range.len(), unit % range.len());
                let count = (range.len() - t).min(end - first - unit);
                // SAFETY: as above; `t + count` does not exceed the transformed tiles.
                unsafe {
                    self.multiply(c, tile, count, v.add(t * BLOCK), m);
                    self.transform_outputs(c, tile, range.start + t..range.start + t + count, m);
                }
                unit += count;
            }
        }
    }

    /// First pixel and image of an image tile.
    fn tile(&self, i: usize) -> [usize; 3] {
        let [down, across, _] = self.tiles();
        let m = self.outputs();
        [i / (down * across), i / across % down * m, i % across * m]
    }

    /// Transforms the inputs of the image tiles in `range` into `v`.
    ///
    /// # Safety
    /// The safety contract of [`Context`]; `v` is the part of the scratch memory for the transformed input.
    unsafe fn transform_inputs(&self, c: &Context<'_>, range: Range<usize>, v: *mut f32) {
        let a = self.inputs();
        let transform = c.kernels.winograd_input[self.scheme];
        for (t, i) in range.enumerate() {
            let [n, y, x] = self.tile(i);
            // A partial tile extends past the map and its border.
            let rows = a.min(self.readable[0] - y);
            let columns = a.min(self.readable[1] - x);
            for b in 0..self.blocks {
                // SAFETY: the patch starts in the border or the map and `rows × columns` of it are inside; `to` has
                // `positions` steps of `v_stride`.
                unsafe {
                    let at = n * self.from.image + b * self.from.plane + y * self.from.row + x * BLOCK;
                    let from = c.pointer(&self.from, at);
                    let to = v.add(self.offsets[b] + t * BLOCK);
                    if rows == a && columns == a {
                        transform(from, self.from.row, to, self.v_stride());
                    } else {
                        let mut patch = [0.0f32; 36 * BLOCK];
                        for y in 0..rows {
                            let to = patch.as_mut_ptr().add(y * a * BLOCK);
                            to.copy_from_nonoverlapping(from.add(y * self.from.row), columns * BLOCK);
                        }
                        transform(patch.as_ptr(), a * BLOCK, to, self.v_stride());
                    }
                }
            }
        }
    }

    /// Multiplies `count` transformed image tiles in `v` by a tile of output channels into `m`.
    ///
    /// # Safety
    /// The safety contract of [`Context`]; `v` and `m` are the parts of the scratch memory for transformed input and
    /// products.
    unsafe fn multiply(&self, c: &Context<'_>, tile: usize, count: usize, v: *const f32, m: *mut f32) {
        let oc = c.kernels.oc;
        let positions = self.inputs().pow(2);
        let depth = self.filters.tile_len / positions;
        for position in 0..positions {
            for (start, pixels) in pieces(count, c.kernels.pixels()) {
                // SAFETY: `count` tiles of each position were transformed; products go to their own part of the scratch
                // memory.
                unsafe {
                    let to = m.add(position * self.m_stride(oc) + start * oc);
                    let job = Product {
                        x: v.add(position * self.v_stride() + start * BLOCK),
                        offsets: self.offsets.as_ptr(),
                        groups: self.blocks,
                        depth: self.depth,
                        w: self.filters.tile(c, tile).add(position * depth),
                        bias: self.neutral[0].as_ptr(),
                        floor: self.neutral[1].as_ptr(),
                        to: [to, to.add(c.kernels.lanes)],
                        to_step: oc,
                        accumulate: false,
                    };
                    (c.kernels.product[pixels - 1][PixelStride::Block as usize])(&job);
                }
            }
        }
    }

    /// Transforms the products in `m` into the outputs of the image tiles in `range`.
    ///
    /// # Safety
    /// The safety contract of [`Context`]; `m` is the part of the scratch memory for the products.
    unsafe fn transform_outputs(&self, c: &Context<'_>, tile: usize, range: Range<usize>, m: *const f32) {
        let oc = c.kernels.oc;
        let side = self.outputs();
        for (t, i) in range.enumerate() {
            let [n, y, x] = self.tile(i);
            // SAFETY: only pixels inside the map are written, each by the only task with its tile and channels.
            unsafe {
                let (to, row) = registers(c, &self.to, tile, |p| n * p.image + y * p.row + x * BLOCK);
                let job = Output {
                    m: m.add(t * oc),
                    stride: self.m_stride(oc),
                    bias: self.filters.bias.as_ptr().add(tile * oc),
                    floor: self.filters.floor.as_ptr().add(tile * oc),
                    to,
                    row,
                    size: [side.min(self.height - y), side.min(self.width - x)],
                    accumulate: self.accumulate,
                };
                (c.kernels.winograd_output[self.scheme])(&job);
            }
        }
    }

    /// Panics unless the step stays inside its tensors, of the given lengths, `scratch` floats of scratch memory, and
    /// its filters.
    pub(crate) fn check(&self, oc: usize, scratch: usize, tensors: impl Fn(usize) -> usize) {
        let Self { from, to, images, height, width, filters, readable: [rows, columns], .. } = self;
        let last = (self.blocks - 1) * from.plane + (rows - 1) * from.row + columns * BLOCK;
        assert!(from.offset + (images - 1) * from.image + last <= tensors(from.tensor));
        assert!(rows >= height && columns >= width && self.depth <= BLOCK);
        for to in to {
            let last = (height - 1) * to.row + width * BLOCK;
            assert!(to.offset + (images - 1) * to.image + last <= tensors(to.tensor));
        }
        filters.check(oc, to.len(), tensors);
        assert!(filters.tile_len == self.inputs().pow(2) * self.blocks * self.depth * oc);
        assert!(self.neutral.iter().all(|values| values.len() >= oc));
        assert!(self.scratch(oc) <= scratch && self.group > 0);
        assert!(self.offsets.iter().all(|o| o + self.group * BLOCK <= self.v_stride()));
    }
}
