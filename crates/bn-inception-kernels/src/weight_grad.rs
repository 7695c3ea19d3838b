//! Weight gradient: every weight's gradient is a dot product over the pixels of all images.
//!
//! A task has a block of input channels and a run of pixel rows. It unrolls its input channels, copies the output
//! gradient and accumulates dot-product tiles; the runs are summed in order at the end.

use crate::columns::{OVERRUN, Segment, Window, segments};
use crate::correlation::Channels;
use crate::disjoint::Disjoint;
use crate::scratch;
use crate::tile::{DOT_ROWS, Tiles};
use rayon::prelude::*;

/// Approximate number of pixels multiplied at a time: the rows of a dot tile fit into the first-level cache together.
const CHUNK_PIXELS: usize = 640;
/// Approximate number of unrolled rows (input channel × tap) of a task.
const BLOCK_ROWS: usize = 144;
/// Approximate number of output channels copied at a time.
const BLOCK_OUTPUTS: usize = 96;
/// Intended number of tasks, and maximum number of runs of pixel rows.
const TASKS: usize = 16;

/// `gradient[m, c, t] = Σ dy[n, m, o] · x[n, c, window(o, t)]`, summed over images `n` and pixels `o`.
pub(crate) struct WeightGradient {
    pub(crate) batch: usize,
    pub(crate) x: Channels,
    pub(crate) dy: Channels,
    pub(crate) window: Window,
}

impl WeightGradient {
    /// Computes the gradient; overwrites `gradient`, `[dy.count, x.count, taps]`.
    pub(crate) fn run(&self, tiles: &Tiles, x: &[f32], dy: &[f32], gradient: &mut [f32]) {
        let taps = self.window.taps();
        let total = self.batch * self.window.rows;
        let chunk = (CHUNK_PIXELS / self.window.cols).clamp(1, total);
        let chunks = total.div_ceil(chunk);
        let mut blocks = (self.x.count * taps).div_ceil(BLOCK_ROWS).min(self.x.count);
        let runs = TASKS.div_ceil(blocks).min(chunks);
        if runs == 1 {
            blocks = blocks.max(TASKS / 2).next_multiple_of(2).min(self.x.count);
        }
        let block = self.x.count.div_ceil(blocks);
        let run = chunks.div_ceil(runs) * chunk;
        let runs = total.div_ceil(run);
        let blocks = self.x.count.div_ceil(block);

        let len = gradient.len();
        let mut partial = vec![0.0; if runs > 1 { runs * len } else { 0 }];
        let out = Disjoint::new(if runs > 1 { &mut partial } else { &mut *gradient });
        (0..runs * blocks).into_par_iter().for_each(|task| {
            let (r, b) = (task / blocks, task % blocks);
            let channels = b * block..((b + 1) * block).min(self.x.count);
            let rows = r * run..((r + 1) * run).min(total);
            self.task(tiles, x, dy, channels, rows, chunk, |m, at, sums| {
                // SAFETY: a task writes only the entries of its channels in its run's copy of the gradient.
                unsafe { out.range(r * len + m * self.x.count * taps + at, sums.len()) }.copy_from_slice(sums);
            });
        });
        if runs > 1 {
            const PIECE: usize = 4096;
            gradient.par_chunks_mut(PIECE).enumerate().for_each(|(i, to)| {
                for (r, from) in partial.chunks_exact(len).enumerate() {
                    let from = &from[i * PIECE..][..to.len()];
                    if r == 0 {
                        to.copy_from_slice(from);
                    } else {
                        to.iter_mut().zip(from).for_each(|(d, s)| *d += s);
                    }
                }
            });
        }
    }

    /// Gradient of input channels `channels` over pixel rows `rows`; `write(m, at, sums)` receives, for each output
    /// channel, the entries from `at` on.
    #[allow(clippy::too_many_arguments)] // one private call site
    fn task(
        &self,
        tiles: &Tiles,
        x: &[f32],
        dy: &[f32],
        channels: std::ops::Range<usize>,
        rows: std::ops::Range<usize>,
        chunk: usize,
        write: impl Fn(usize, usize, &[f32]),
    ) {
        let taps = self.window.taps();
        let unrolled = channels.len() * taps;
        let outputs = self.dy.count.next_multiple_of(DOT_ROWS);
        let block = outputs.div_ceil(outputs.div_ceil(BLOCK_OUTPUTS)).next_multiple_of(DOT_ROWS);
        let stride = (chunk * self.window.cols).next_multiple_of(tiles.lanes) + OVERRUN;
        let lengths = [self.window.scratch(chunk), unrolled * stride, block * stride, (outputs + 1) * unrolled];
        scratch::with(lengths, |[planes, right, left, sums]| {
            // Four output channels side by side, as dot tiles store them.
            let (sums, row) = sums.split_at_mut(outputs * unrolled);
            sums.fill(0.0);
            for from in rows.clone().step_by(chunk) {
                let to = (from + chunk).min(rows.end);
                let pixels = (to - from) * self.window.cols;
                let length = pixels.next_multiple_of(tiles.lanes);
                for (i, c) in channels.clone().enumerate() {
                    let mut at = i * taps * stride;
                    for Segment { image, first, rows } in segments(from, to, self.window.rows) {
                        let size = self.window.height * self.window.width;
                        let plane = &x[(image * self.x.total + self.x.first + c) * size..][..size];
                        self.window.unroll(plane, first, rows, planes, &mut right[at..], stride);
                        at += rows * self.window.cols;
                    }
                }
                for row in right.chunks_exact_mut(stride) {
                    row[pixels..length].fill(0.0);
                }
                for m0 in (0..outputs).step_by(block) {
                    let m1 = (m0 + block).min(outputs);
                    for m in m0..m1 {
                        self.copy_gradient(dy, m, from, to, &mut left[(m - m0) * stride..][..length]);
                    }
                    for j in (0..unrolled).step_by(tiles.dot_columns) {
                        let columns = tiles.dot_columns.min(unrolled - j);
                        let b = &right[j * stride..(j + columns) * stride];
                        for m in (m0..m1).step_by(DOT_ROWS) {
                            let a = &left[(m - m0) * stride..][..DOT_ROWS * stride];
                            let c = &mut sums[(m * unrolled + j * DOT_ROWS)..][..columns * DOT_ROWS];
                            tiles.dot(columns, length, a, stride, b, stride, c);
                        }
                    }
                }
            }
            for m in 0..self.dy.count {
                let from = &sums[m / DOT_ROWS * DOT_ROWS * unrolled + m % DOT_ROWS..];
                let row = &mut row[..unrolled];
                row.iter_mut().zip(from.iter().step_by(DOT_ROWS)).for_each(|(d, s)| *d = *s);
                write(m, channels.start * taps, row);
            }
        });
    }

    /// Copies the output gradient of channel `m`; zeros for a channel past the last one and past the last pixel.
    fn copy_gradient(&self, dy: &[f32], m: usize, from: usize, to: usize, out: &mut [f32]) {
        if m >= self.dy.count {
            out.fill(0.0);
            return;
        }
        let (height, cols) = (self.window.rows, self.window.cols);
        let mut at = 0;
        for Segment { image, first, rows } in segments(from, to, height) {
            let start = ((image * self.dy.total + self.dy.first + m) * height + first) * cols;
            out[at..at + rows * cols].copy_from_slice(&dy[start..start + rows * cols]);
            at += rows * cols;
        }
        out[at..].fill(0.0);
    }
}
