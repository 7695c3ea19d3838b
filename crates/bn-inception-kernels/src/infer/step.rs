//! The steps of a plan, and a thread's share of each.

use std::sync::Arc;

use crate::conv::direct::DirectConv;
use crate::conv::filters::Packed;
use crate::conv::winograd::WinogradConv;
use crate::plan::context::Context;
use crate::plan::layout::{BLOCK, View};
use crate::simd::kernels::PoolRow;

/// 3×3 pooling.
pub(crate) struct Pooling {
    /// View from the first pixel of the first window, which may lie in the border.
    pub(crate) from: View,
    pub(crate) to: View,
    pub(crate) stride: usize,
    pub(crate) images: usize,
    pub(crate) blocks: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Scale and epilogue of an average; `None` for a maximum.
    pub(crate) average: Option<Average>,
}

/// Scale and epilogue of an average pool.
pub(crate) struct Average {
    /// Bias and floor, one value per channel.
    pub(crate) epilogue: Arc<Packed>,
    /// Reciprocal of the divisor, `[height][width]`.
    pub(crate) scale: Vec<f32>,
}

/// The operation of a step.
pub(crate) enum Op {
    /// `[N, 3, H, W]` to rows of interleaved channels inside a border of zeros. With two phases the pixels of every two
    /// rows and columns are side by side in one: channel `c` of pixel `(2u + p, 2v + q)` is at
    /// `[u][v][(2p + q) · 3 + c]`.
    Input {
        to: View,
        images: usize,
        first: usize,
        size: [usize; 2],
        before: [usize; 2],
        padded: [usize; 2],
        phases: usize,
    },
    Direct(DirectConv),
    Winograd(WinogradConv),
    Pooling(Pooling),
    /// Mean over all pixels of each channel.
    Mean {
        from: View,
        to: View,
        images: usize,
        blocks: usize,
        height: usize,
        width: usize,
    },
    /// `[block][N][16]` to `[N, classes]`.
    Output {
        from: View,
        images: usize,
        classes: usize,
    },
    /// Zeros in the border of every plane.
    Border {
        to: View,
        images: usize,
        blocks: usize,
        height: usize,
        width: usize,
    },
}

/// An operation with its name and cost for profiles.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) macs: u64,
    pub(crate) op: Op,
}

impl Op {
    /// Runs this thread's share.
    ///
    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        // SAFETY: the same contract.
        unsafe {
            match self {
                Op::Direct(op) => op.run(c),
                Op::Winograd(op) => op.run(c),
                Op::Pooling(op) => op.run(c),
                &Op::Input { ref to, images, first, size: [height, width], before, padded, phases } => {
                    let lanes = to.row / padded[1];
                    for task in c.share(images * padded[0]) {
                        let (n, y) = (task / padded[0], task % padded[0]);
                        // SAFETY: one padded row of the tensor, this task's alone.
                        let row = std::slice::from_raw_parts_mut(c.pointer(to, n * to.image + y * to.row), to.row);
                        row.fill(0.0);
                        for task in 0..3 * phases {
                            let (p, channel) = (task / 3, task % 3);
                            let y = (y * phases + p).checked_sub(before[0]);
                            let Some(y) = y.filter(|&y| y < height) else {
                                continue;
                            };
                            let at = (((first + n) * 3 + channel) * height + y) * width;
                            // SAFETY: row `y` of a plane of the input.
                            let from = std::slice::from_raw_parts(c.input.add(at), width);
                            for q in 0..phases {
                                // Columns of the image with this phase.
                                let skip = (q + phases - before[1] % phases) % phases;
                                let start = (before[1] + skip) / phases * lanes;
                                let lane = (p * phases + q) * 3 + channel;
                                let to = row[start + lane..].iter_mut().step_by(lanes);
                                let from = from[skip.min(width)..].iter().step_by(phases);
                                for (to, from) in to.zip(from) {
                                    *to = *from;
                                }
                            }
                        }
                    }
                }
                &Op::Mean { ref from, ref to, images, blocks, height, width } => {
                    for task in c.share(images * blocks) {
                        let (n, b) = (task / blocks, task % blocks);
                        let x = c.pointer(from, n * from.image + b * from.plane);
                        let to = c.pointer(to, n * to.image + b * to.plane);
                        (c.kernels.mean)(x, from.row, height, width, to);
                    }
                }
                &Op::Output { ref from, images, classes } => {
                    for n in c.share(images) {
                        for o in 0..classes {
                            let from = c.pointer(from, o / BLOCK * from.plane + n * from.image + o % BLOCK);
                            *c.output.add(n * classes + o) = *from;
                        }
                    }
                }
                &Op::Border { ref to, images, blocks, height, width } => {
                    for task in c.share(images * blocks) {
                        let plane = c.pointer(to, task / blocks * to.image + task % blocks * to.plane);
                        // `to` is the corner of the border.
                        plane.write_bytes(0, to.row + BLOCK);
                        for y in 1..height {
                            plane.add(y * to.row + (width + 1) * BLOCK).write_bytes(0, 2 * BLOCK);
                        }
                        let last = plane.add(height * to.row + (width + 1) * BLOCK);
                        last.write_bytes(0, to.row + BLOCK);
                    }
                }
            }
        }
    }
}

impl Pooling {
    /// # Safety
    /// The safety contract of [`Context`].
    unsafe fn run(&self, c: &Context<'_>) {
        let (from, to) = (&self.from, &self.to);
        for task in c.share(self.images * self.blocks * self.height) {
            let (plane, y) = (task / self.height, task % self.height);
            let (n, b) = (plane / self.blocks, plane % self.blocks);
            // SAFETY: the plan has checked windows and destinations; the row is this task's alone.
            unsafe {
                let job = PoolRow {
                    x: c.pointer(from, n * from.image + b * from.plane + y * self.stride * from.row),
                    row: from.row,
                    width: self.width,
                    stride: self.stride,
                    to: c.pointer(to, n * to.image + b * to.plane + y * to.row),
                };
                match &self.average {
                    None => (c.kernels.max_row)(&job),
                    Some(average) => {
                        let scale = average.scale[y * self.width..].as_ptr();
                        let bias = average.epilogue.bias.as_ptr().add(b * BLOCK);
                        let floor = average.epilogue.floor.as_ptr().add(b * BLOCK);
                        (c.kernels.average_row)(&job, scale, bias, floor);
                    }
                }
            }
        }
    }
}
