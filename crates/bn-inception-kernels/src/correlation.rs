//! Forward pass and input gradient: the product of a small weight matrix and the unrolled columns of all images.
//!
//! The output pixels of the whole batch form one long row of columns, so that a 4×4 map fills tiles as well as a
//! 112×112 one. The columns are split into blocks of whole pixel rows; a block is one task. Within it, a few channels
//! at a time are unrolled into panels that stay in the second-level cache and are multiplied by the packed weights.
//! Partial sums stay in a buffer of the block until the epilogue writes them to their images.

use crate::columns::{OVERRUN, Segment, Window, segments};
use crate::disjoint::Disjoint;
use crate::scratch;
use crate::simd::multiversion;
use crate::tile::Tiles;
use rayon::prelude::*;

/// Approximate number of columns of a block: as many as keep its panels and sums in the second-level cache.
const BLOCK_COLUMNS: usize = 384;
/// Maximum number of matrix rows unrolled at a time, unless one channel has more taps.
const BLOCK_DEPTH: usize = 144;
/// Maximum number of floats of unrolled panels, for very wide images.
const BLOCK_FLOATS: usize = BLOCK_COLUMNS * BLOCK_DEPTH;

multiversion! {
    /// Scatters pieces of `width` floats to `panels` with stride `step`.
    fn to_panels(row: &[f32], panels: &mut [f32], width: usize, step: usize) {
        // Register-sized pieces: a copy of unknown length would be a function call.
        for (p, row) in row.chunks_exact(width).enumerate() {
            let panel = &mut panels[p * step..][..width];
            for (to, from) in panel.as_chunks_mut::<8>().0.iter_mut().zip(row.as_chunks::<8>().0) {
                *to = *from;
            }
        }
    }
}

multiversion! {
    /// Gathers pieces of `width` floats from `panels` with stride `step`.
    fn from_panels(row: &mut [f32], panels: &[f32], width: usize, step: usize) {
        for (p, row) in row.chunks_exact_mut(width).enumerate() {
            let panel = &panels[p * step..][..width];
            for (to, from) in row.as_chunks_mut::<8>().0.iter_mut().zip(panel.as_chunks::<8>().0) {
                *to = *from;
            }
        }
    }
}

/// A range of channels of an NCHW tensor.
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    /// Number of channels of the tensor.
    pub(crate) total: usize,
    /// First channel of the range.
    pub(crate) first: usize,
    /// Number of channels of the range.
    pub(crate) count: usize,
}

/// `target[n, m, o * step + origin] = Σ weight[m, c, t] · source[n, c, window(o, t)]`.
pub(crate) struct Correlation {
    pub(crate) batch: usize,
    pub(crate) source: Channels,
    pub(crate) target: Channels,
    pub(crate) window: Window,
    /// Height and width of a target plane.
    pub(crate) target_size: [usize; 2],
    /// Step of the output grid in the target plane.
    pub(crate) target_step: [usize; 2],
    /// First row and column of the output grid in the target plane.
    pub(crate) target_origin: [usize; 2],
}

impl Correlation {
    /// Computes the correlation. `weight(m, c, t)` is read once per element. Only the pixels of the grid are written to
    /// `target`, and no other call may write them at the same time.
    pub(crate) fn run(
        &self,
        tiles: &Tiles,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
        source: &[f32],
        target: &Disjoint<'_, f32>,
    ) {
        if self.window.rows == 0 || self.window.cols == 0 {
            return;
        }
        let packed = self.pack(tiles, weight);
        let total = self.batch * self.window.rows;
        let rows = self.block_rows(tiles);
        (0..total.div_ceil(rows)).into_par_iter().for_each(|block| {
            let first = block * rows;
            self.block(tiles, &packed, source, target, first, (first + rows).min(total));
        });
    }

    /// Weights as `[m / rows][c, t][rows]`, the last panel padded with zeros.
    fn pack(&self, tiles: &Tiles, weight: impl Fn(usize, usize, usize) -> f32 + Sync) -> Vec<f32> {
        let (taps, rows) = (self.window.taps(), tiles.rows);
        let depth = self.source.count * taps;
        let mut packed = vec![0.0; self.target.count.div_ceil(rows) * depth * rows];
        packed.par_chunks_mut((depth * rows).max(1)).enumerate().for_each(|(panel, to)| {
            let used = rows.min(self.target.count - panel * rows);
            for r in 0..used {
                for c in 0..self.source.count {
                    for t in 0..taps {
                        to[(c * taps + t) * rows + r] = weight(panel * rows + r, c, t);
                    }
                }
            }
        });
        packed
    }

    /// Number of pixel rows of a block. The number of blocks is a multiple of four where there are enough columns, so
    /// that two or four equal threads finish together.
    fn block_rows(&self, tiles: &Tiles) -> usize {
        let total = self.batch * self.window.rows;
        let rows = (BLOCK_COLUMNS / self.window.cols).max(1);
        let blocks = total.div_ceil(rows).next_multiple_of(4);
        total.div_ceil(blocks).max((2 * tiles.width).div_ceil(self.window.cols)).min(total)
    }

    #[allow(clippy::too_many_arguments)] // one private call site
    fn block(&self, tiles: &Tiles, packed: &[f32], source: &[f32], target: &Disjoint<'_, f32>, from: usize, to: usize) {
        let taps = self.window.taps();
        let width = tiles.width;
        let columns = (to - from) * self.window.cols;
        let panels = columns.div_ceil(width);
        let depth = self.source.count * taps;
        let step = (BLOCK_DEPTH.min(BLOCK_FLOATS / (panels * width)) / taps.max(1)).clamp(1, self.source.count);
        let row_panels = self.target.count.div_ceil(tiles.rows);
        let tile = tiles.rows * width;
        let stride = panels * width + OVERRUN;
        let lengths = [
            self.window.scratch(to - from),
            (taps * stride).max(stride),
            panels * width * step * taps,
            panels * row_panels * tile,
        ];
        scratch::with(lengths, |[planes, rows, right, sums]| {
            if taps == 0 {
                sums.fill(0.0);
            }
            let channels = if taps == 0 { 0 } else { self.source.count };
            for c0 in (0..channels).step_by(step) {
                let c1 = (c0 + step).min(channels);
                let chunk = (c1 - c0) * taps;
                for c in c0..c1 {
                    self.unroll(source, c, from, to, planes, rows, stride);
                    for t in 0..taps {
                        let row = &mut rows[t * stride..][..panels * width];
                        row[columns..].fill(0.0);
                        let k = (c - c0) * taps + t;
                        to_panels(row, &mut right[k * width..], width, chunk * width);
                    }
                }
                for p in 0..panels {
                    let vectors = (columns - p * width).min(width).div_ceil(tiles.lanes);
                    let b = &right[p * chunk * width..][..chunk * width];
                    for m in 0..row_panels {
                        let a = &packed[(m * depth + c0 * taps) * tiles.rows..][..chunk * tiles.rows];
                        let c = &mut sums[(p * row_panels + m) * tile..][..tile];
                        tiles.product(vectors, chunk, a, b, c, c0 > 0);
                    }
                }
            }
            for m in 0..self.target.count {
                let row = &mut rows[..panels * width];
                from_panels(row, &sums[m * width..], width, row_panels * tile);
                self.write(&row[..columns], m, from, to, target);
            }
        });
    }

    /// Unrolls channel `c` over the segments of the block, which follow each other in every row of `out`.
    #[allow(clippy::too_many_arguments)] // one private call site
    fn unroll(
        &self,
        source: &[f32],
        c: usize,
        from: usize,
        to: usize,
        planes: &mut [f32],
        out: &mut [f32],
        stride: usize,
    ) {
        let size = self.window.height * self.window.width;
        let mut at = 0;
        for Segment { image, first, rows } in segments(from, to, self.window.rows) {
            let plane = &source[(image * self.source.total + self.source.first + c) * size..][..size];
            self.window.unroll(plane, first, rows, planes, &mut out[at..], stride);
            at += rows * self.window.cols;
        }
    }

    /// Writes the sums of one channel of a block to the images.
    fn write(&self, mut row: &[f32], m: usize, from: usize, to: usize, target: &Disjoint<'_, f32>) {
        let cols = self.window.cols;
        let [height, width] = self.target_size;
        let contiguous = self.target_step == [1, 1] && self.target_origin == [0, 0] && width == cols;
        for Segment { image, first, rows } in segments(from, to, self.window.rows) {
            let plane = (image * self.target.total + self.target.first + m) * height * width;
            let (now, rest) = row.split_at(rows * cols);
            row = rest;
            if contiguous {
                // SAFETY: a block owns its pixel rows of every channel of the group; blocks do not overlap, and groups
                // run one after the other.
                unsafe { target.range(plane + first * width, rows * width) }.copy_from_slice(now);
                continue;
            }
            for (r, now) in now.chunks_exact(cols).enumerate() {
                let y = (first + r) * self.target_step[0] + self.target_origin[0];
                // SAFETY: distinct grid rows are distinct target rows, owned as above; grids that interleave within a
                // row run one after the other.
                let to = unsafe { target.range(plane + y * width, width) };
                let to = to[self.target_origin[1]..].iter_mut().step_by(self.target_step[1]);
                to.zip(now).for_each(|(d, s)| *d = *s);
            }
        }
    }
}
