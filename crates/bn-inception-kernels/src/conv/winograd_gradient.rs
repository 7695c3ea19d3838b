//! The steps of a weight gradient by Winograd's method: F(3×3, 4×4) with tiles of the output's gradient as filters. The
//! sum over all tiles is taken before the output transform, of which there is one for each filter.

use std::ops::Range;

use super::direct::pieces;
use crate::plan::context::Context;
use crate::plan::layout::{BLOCK, VECTORS, View};
use crate::plan::team::share;
use crate::simd::kernels::{WEIGHT_VECTORS, WeightTile};

use super::transform::Output;

/// Number of rows of an image tile of the output's gradient, and of the input.
const TILE: [usize; 2] = [4, 6];
/// Number of positions of a transformed tile.
const POSITIONS: usize = TILE[1] * TILE[1];
/// Number of rows of a filter.
const FILTER: usize = 3;

/// Products of transformed inputs and gradients, summed over all image tiles: `[position][input channel][output
/// channel]`.
pub(crate) struct WinogradGradient {
    /// View of the input from the first pixel of the first window.
    pub(crate) from: View,
    /// Number of rows and columns readable from there; the pixels beyond count as zero.
    pub(crate) readable: [usize; 2],
    /// Number of channel blocks of the input.
    pub(crate) blocks: usize,
    /// View of the gradient of the output.
    pub(crate) gradient: View,
    /// Number of channel blocks of the output.
    pub(crate) out_blocks: usize,
    pub(crate) images: usize,
    /// Height and width of the output.
    pub(crate) size: [usize; 2],
    /// The tensor written.
    pub(crate) to: usize,
}

/// The part of the weights that a share computes.
struct Part {
    /// Number of image tiles transformed at once.
    group: usize,
    /// First register of output channels of each tile of a weight gradient, and number of registers.
    registers: Vec<(usize, usize)>,
    /// Tiles of a weight gradient times input channel blocks.
    units: Range<usize>,
    /// Input channel blocks and output channel blocks that these need.
    blocks: Range<usize>,
    out_blocks: Range<usize>,
}

impl WinogradGradient {
    /// Number of floats of the destination.
    pub(crate) fn len(&self) -> usize {
        POSITIONS * self.blocks * self.out_blocks * BLOCK * BLOCK
    }

    /// Number of image tiles down, across, and in all images.
    fn tiles(&self) -> [usize; 3] {
        let [down, across] = self.size.map(|size| size.div_ceil(TILE[0]));
        [down, across, self.images * down * across]
    }

    /// Maximum number of image tiles transformed at once: as many as fit into the second-level cache beside the sums,
    /// and at least so many that reading and writing the sums costs little.
    fn group(&self) -> usize {
        const FLOATS: usize = 3 << 17;
        let [_, _, all] = self.tiles();
        let tile = POSITIONS * BLOCK * (self.blocks + self.out_blocks);
        all.div_ceil(all.div_ceil((FLOATS / tile).clamp(32, 64)))
    }

    /// Floats from one position to the next of `blocks` transformed channel blocks. An extra cache line keeps them out of
    /// one cache set.
    fn stride(&self, blocks: usize) -> usize {
        (blocks * self.group() + 1) * BLOCK
    }

    /// Number of floats of scratch memory.
    pub(crate) fn scratch(&self) -> usize {
        POSITIONS * (self.stride(self.blocks) + self.stride(self.out_blocks))
    }

    fn part(&self, c: &Context<'_>) -> Part {
        let lanes = c.kernels.lanes;
        let registers: Vec<_> = pieces(self.out_blocks * BLOCK / lanes, WEIGHT_VECTORS).collect();
        let units = c.share(registers.len() * self.blocks);
        let (first, last) = (units.start / self.blocks, units.end.saturating_sub(1) / self.blocks);
        let blocks = match first == last {
            true => units.start % self.blocks..units.end.saturating_sub(1) % self.blocks + 1,
            false => 0..self.blocks,
        };
        let end = registers[last].0 + registers[last].1;
        let out_blocks = registers[first].0 * lanes / BLOCK..(end * lanes).div_ceil(BLOCK);
        Part { group: self.group(), registers, units, blocks, out_blocks }
    }

    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let part = self.part(c);
        if part.units.is_empty() {
            return;
        }
        let [_, _, all] = self.tiles();
        let inputs = c.scratch;
        // SAFETY: the plan sized the scratch memory by `scratch()`.
        let gradients = unsafe { inputs.add(POSITIONS * self.stride(self.blocks)) };
        let groups = all.div_ceil(part.group);
        for group in 0..groups {
            let tiles = share(all, groups, group);
            // SAFETY: by the contract; a group has at most `part.group` tiles.
            unsafe {
                let of_input = c.kernels.winograd_input[2];
                self.transform::<6>(c, (&self.from, self.readable), of_input, &part, &part.blocks, &tiles, inputs);
                let of_gradient = c.kernels.winograd_gradient;
                let from = (&self.gradient, self.size);
                self.transform::<4>(c, from, of_gradient, &part, &part.out_blocks, &tiles, gradients);
                self.multiply(c, &part, tiles.len(), inputs, gradients, group > 0);
            }
        }
    }

    /// Transforms the patches of `SIDE × SIDE` pixels of image tiles and channel blocks into `to`.
    ///
    /// # Safety
    /// The safety contract of [`Context`]; `to` has room for the part.
    #[allow(clippy::too_many_arguments)]
    unsafe fn transform<const SIDE: usize>(
        &self,
        c: &Context<'_>,
        (from, readable): (&View, [usize; 2]),
        transform: unsafe fn(*const f32, usize, *mut f32, usize),
        part: &Part,
        blocks: &Range<usize>,
        tiles: &Range<usize>,
        to: *mut f32,
    ) {
        let [down, across, _] = self.tiles();
        let stride = self.stride(blocks.len());
        for (t, i) in tiles.clone().enumerate() {
            let (n, y, x) = (i / (down * across), i / across % down * TILE[0], i % across * TILE[0]);
            let (rows, columns) = (SIDE.min(readable[0] - y), SIDE.min(readable[1] - x));
            for (b, block) in blocks.clone().enumerate() {
                // SAFETY: `rows × columns` pixels of the patch are inside the map; a position of `to` holds
                // `part.group` tiles of each block.
                unsafe {
                    let at = n * from.image + block * from.plane + y * from.row + x * BLOCK;
                    let from_tile = c.pointer(from, at).cast_const();
                    let to = to.add((b * part.group + t) * BLOCK);
                    if rows == SIDE && columns == SIDE {
                        transform(from_tile, from.row, to, stride);
                    } else {
                        let mut patch = [0.0f32; POSITIONS * BLOCK];
                        for row in 0..rows {
                            let to = patch.as_mut_ptr().add(row * SIDE * BLOCK);
                            to.copy_from_nonoverlapping(from_tile.add(row * from.row), columns * BLOCK);
                        }
                        transform(patch.as_ptr(), SIDE * BLOCK, to, stride);
                    }
                }
            }
        }
    }

    /// Adds the products of `count` transformed tiles to the part's sums.
    ///
    /// # Safety
    /// The safety contract of [`Context`]; the tiles of the part's blocks have been transformed.
    unsafe fn multiply(
        &self,
        c: &Context<'_>,
        part: &Part,
        count: usize,
        inputs: *const f32,
        gradients: *const f32,
        accumulate: bool,
    ) {
        let (lanes, rows) = (c.kernels.lanes, c.kernels.rows);
        let (channels, columns) = (self.blocks * BLOCK, self.out_blocks * BLOCK);
        let [x_stride, dz_stride] = [&part.blocks, &part.out_blocks].map(|blocks| self.stride(blocks.len()));
        for position in 0..POSITIONS {
            for unit in part.units.clone() {
                let ((first, registers), block) = (part.registers[unit / self.blocks], unit % self.blocks);
                // SAFETY: by the contract; each weight belongs to one unit, and the plan has checked the destination.
                unsafe {
                    let mut dz = [std::ptr::null(); WEIGHT_VECTORS];
                    for (v, dz) in dz.iter_mut().enumerate().take(registers) {
                        let channel = (first + v) * lanes;
                        let at = (channel / BLOCK - part.out_blocks.start) * part.group * BLOCK + channel % BLOCK;
                        *dz = gradients.add(position * dz_stride + at);
                    }
                    let x = inputs.add(position * x_stride + (block - part.blocks.start) * part.group * BLOCK);
                    for row in (0..BLOCK).step_by(rows) {
                        let at = (position * channels + block * BLOCK + row) * columns + first * lanes;
                        let job = WeightTile {
                            x: x.add(row),
                            x_strides: [BLOCK, 0, 0],
                            dz,
                            dz_strides: [0, 0],
                            extent: [1, 1, count],
                            to: c.arena.add(c.offsets[self.to] + at),
                            to_row: columns,
                            accumulate,
                        };
                        (c.kernels.weight_tile[registers - 1])(&job);
                    }
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensors, of the given lengths, and `scratch` floats of scratch memory.
    pub(crate) fn check(&self, tensors: impl Fn(usize) -> usize, scratch: usize) {
        let inside = |view: &View, blocks: usize, [rows, columns]: [usize; 2]| {
            let last = (blocks - 1) * view.plane + (rows - 1) * view.row + columns * BLOCK;
            assert!(view.offset + (self.images - 1) * view.image + last <= tensors(view.tensor));
        };
        inside(&self.from, self.blocks, self.readable);
        inside(&self.gradient, self.out_blocks, self.size);
        assert!(self.readable[0] >= self.size[0] && self.readable[1] >= self.size[1]);
        assert!(self.len() <= tensors(self.to) && self.scratch() <= scratch && self.group() > 0);
    }
}

/// Output transform of the sums: a weight gradient `[tap][input channel][output channel]`.
pub(crate) struct WinogradGradientOutput {
    /// The tensor read.
    pub(crate) from: usize,
    /// The tensor written.
    pub(crate) to: usize,
    /// Number of input channels, with padding.
    pub(crate) channels: usize,
    /// Number of output channels, with padding.
    pub(crate) columns: usize,
}

impl WinogradGradientOutput {
    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let (lanes, plane) = (c.kernels.lanes, self.channels * self.columns);
        let (zeros, floor) = ([0.0f32; VECTORS * BLOCK], [f32::NEG_INFINITY; VECTORS * BLOCK]);
        for i in c.share(self.channels) {
            for o in (0..self.columns).step_by(VECTORS * lanes) {
                let mut filters = [[0.0f32; FILTER * FILTER * BLOCK]; VECTORS];
                let registers = VECTORS.min((self.columns - o) / lanes);
                let mut to = [std::ptr::null_mut(); VECTORS];
                for (to, filter) in to.iter_mut().zip(&mut filters).take(registers) {
                    *to = filter.as_mut_ptr();
                }
                // SAFETY: the plan has checked both tensors; the filters of an input channel are its task's alone.
                unsafe {
                    let job = Output {
                        m: c.arena.add(c.offsets[self.from] + i * self.columns + o),
                        stride: plane,
                        bias: zeros.as_ptr(),
                        floor: floor.as_ptr(),
                        to,
                        row: [FILTER * BLOCK; VECTORS],
                        size: [FILTER; 2],
                        accumulate: false,
                    };
                    (c.kernels.winograd_output[2])(&job);
                    let to = c.arena.add(c.offsets[self.to] + i * self.columns + o);
                    for (v, filter) in filters.iter().enumerate().take(registers) {
                        for (tap, values) in filter.chunks(BLOCK).enumerate() {
                            let to = to.add(tap * plane + v * lanes);
                            to.copy_from_nonoverlapping(values.as_ptr(), lanes);
                        }
                    }
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensors, of the given lengths.
    pub(crate) fn check(&self, tensors: impl Fn(usize) -> usize) {
        let plane = self.channels * self.columns;
        assert!(POSITIONS * plane <= tensors(self.from) && FILTER * FILTER * plane <= tensors(self.to));
        assert!(self.from != self.to && self.columns.is_multiple_of(BLOCK));
    }
}
