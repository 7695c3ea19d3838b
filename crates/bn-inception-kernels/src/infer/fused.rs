//! The Winograd step: input transform, products and output transform of a group of image tiles, one after the other in cache.

use std::ops::Range;
use std::sync::Arc;

use super::direct::{pieces, registers};
use super::kernel::{BLOCK, Product, Step};
use super::memory::Aligned;
use super::pack::Packed;
use super::step::{Context, Place};
use super::team::share;
use super::winograd::Output;

/// Rows of outputs and of inputs of an image tile: F(2×2, 3×3), F(4×4, 3×3), F(3×3, 4×4).
const SCHEMES: [(usize, usize); 3] = [(2, 4), (4, 6), (3, 6)];

/// A stride-1 convolution by Winograd's method.
pub(super) struct Winograd {
    /// Index into [`SCHEMES`].
    pub(super) scheme: usize,
    /// First pixel of the first window.
    pub(super) from: Place,
    /// Rows and columns that can be read from there; what is beyond counts as zero.
    pub(super) readable: [usize; 2],
    pub(super) blocks: usize,
    /// Channels of a block that are not always zero.
    pub(super) depth: usize,
    pub(super) filters: Arc<Packed>,
    pub(super) to: Vec<Place>,
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Most image tiles worked on at once.
    pub(super) group: usize,
    /// Offset of each input block in the transformed input.
    pub(super) offsets: Vec<usize>,
    /// Zeros and negative infinities, a product tile's bias and floor before the output transform.
    pub(super) nothing: Arc<[Aligned; 2]>,
}

impl Winograd {
    pub(super) fn outputs(&self) -> usize {
        SCHEMES[self.scheme].0
    }

    pub(super) fn inputs(&self) -> usize {
        SCHEMES[self.scheme].1
    }

    /// Tiles down, across, and in all images.
    pub(super) fn tiles(&self) -> [usize; 3] {
        let m = self.outputs();
        let (down, across) = (self.height.div_ceil(m), self.width.div_ceil(m));
        [down, across, self.images * down * across]
    }

    /// Floats between two positions of the transformed input. The extra line keeps them out of one cache set.
    pub(super) fn v_stride(&self) -> usize {
        (self.blocks * self.group + 1) * BLOCK
    }

    /// Floats between two positions of the products.
    pub(super) fn m_stride(&self, oc: usize) -> usize {
        self.group * oc + BLOCK
    }

    pub(super) fn scratch(&self, oc: usize) -> usize {
        self.inputs().pow(2) * (self.v_stride() + self.m_stride(oc))
    }
}

impl Winograd {
    /// # Safety
    /// As [`Op::run`].
    pub(super) unsafe fn run(&self, c: &Context<'_>) {
        let [_, _, all] = self.tiles();
        let groups = all.div_ceil(self.group);
        let tiles = self.filters.tiles;
        let positions = self.inputs().pow(2);
        let v = c.scratch;
        // SAFETY: the plan sized the scratch memory by `scratch()`.
        let m = unsafe { v.add(positions * self.v_stride()) };
        // Shares are counted in image tiles times tiles of output channels, so that they are equal also where there are only
        // two or three of one kind.
        let share_of_all = c.share(tiles * all);
        for group in 0..groups {
            let range = share(all, groups, group);
            let first = tiles * range.start;
            let start = share_of_all.start.max(first);
            let end = share_of_all.end.min(tiles * range.end);
            if start >= end {
                continue;
            }
            // SAFETY: as for `Direct::run`; `range` has at most `self.group` tiles.
            unsafe { self.transform(c, range.clone(), v) };
            let mut unit = start - first;
            while unit < end - first {
                let (tile, t) = (unit / range.len(), unit % range.len());
                let count = (range.len() - t).min(end - first - unit);
                // SAFETY: as above; `t + count` does not exceed the transformed tiles.
                unsafe {
                    self.multiply(c, tile, count, v.add(t * BLOCK), m);
                    self.finish(c, tile, range.start + t..range.start + t + count, m);
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

    /// # Safety
    /// As [`Op::run`]; `v` is the scratch memory's transformed input.
    unsafe fn transform(&self, c: &Context<'_>, range: Range<usize>, v: *mut f32) {
        let a = self.inputs();
        let transform = c.kernels.wino_input[self.scheme];
        for (t, i) in range.enumerate() {
            let [n, y, x] = self.tile(i);
            // The map and its border end before a partial tile does.
            let rows = a.min(self.readable[0] - y);
            let columns = a.min(self.readable[1] - x);
            for b in 0..self.blocks {
                // SAFETY: the patch starts in the border or the map and `rows × columns` of it are inside; `to` has
                // `positions` steps of `v_stride`.
                unsafe {
                    let at =
                        n * self.from.image + b * self.from.plane + y * self.from.row + x * BLOCK;
                    let from = c.at(&self.from, at);
                    let to = v.add(self.offsets[b] + t * BLOCK);
                    if rows == a && columns == a {
                        transform(from, self.from.row, to, self.v_stride());
                    } else {
                        let mut patch = [0.0f32; 36 * BLOCK];
                        for y in 0..rows {
                            let to = patch.as_mut_ptr().add(y * a * BLOCK);
                            to.copy_from_nonoverlapping(
                                from.add(y * self.from.row),
                                columns * BLOCK,
                            );
                        }
                        transform(patch.as_ptr(), a * BLOCK, to, self.v_stride());
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`Op::run`].
    unsafe fn multiply(
        &self,
        c: &Context<'_>,
        tile: usize,
        count: usize,
        v: *const f32,
        m: *mut f32,
    ) {
        let oc = c.kernels.oc;
        let positions = self.inputs().pow(2);
        let depth = self.filters.tile_len / positions;
        for position in 0..positions {
            for (start, pixels) in pieces(count, c.kernels.pixels()) {
                // SAFETY: `count` tiles of each position were transformed; products go to their own place.
                unsafe {
                    let to = m.add(position * self.m_stride(oc) + start * oc);
                    let job = Product {
                        x: v.add(position * self.v_stride() + start * BLOCK),
                        offsets: self.offsets.as_ptr(),
                        groups: self.blocks,
                        depth: self.depth,
                        w: self
                            .filters
                            .weights
                            .as_ptr()
                            .add(tile * self.filters.tile_len + position * depth),
                        bias: self.nothing[0].as_ptr(),
                        floor: self.nothing[1].as_ptr(),
                        to: [to, to.add(c.kernels.lanes)],
                        to_step: oc,
                    };
                    (c.kernels.product[pixels - 1][Step::Block as usize])(&job);
                }
            }
        }
    }

    /// # Safety
    /// As [`Op::run`].
    unsafe fn finish(&self, c: &Context<'_>, tile: usize, range: Range<usize>, m: *const f32) {
        let oc = c.kernels.oc;
        let side = self.outputs();
        for (t, i) in range.enumerate() {
            let [n, y, x] = self.tile(i);
            // SAFETY: only pixels inside the map are written, each by the one task that has its tile and channels.
            unsafe {
                let (to, row) =
                    registers(c, &self.to, tile, |p| n * p.image + y * p.row + x * BLOCK);
                let job = Output {
                    m: m.add(t * oc),
                    stride: self.m_stride(oc),
                    bias: self.filters.bias.as_ptr().add(tile * oc),
                    floor: self.filters.floor.as_ptr().add(tile * oc),
                    to,
                    row,
                    size: [side.min(self.height - y), side.min(self.width - x)],
                };
                (c.kernels.wino_output[self.scheme])(&job);
            }
        }
    }
}
