//! The steps of a plan, and a thread's share of each.

use std::sync::Arc;

use crate::conv::direct::DirectConv;
use crate::conv::filters::Packed;
use crate::conv::winograd::WinogradConv;
use crate::plan::border::Border;
use crate::plan::context::Context;
use crate::plan::images::Images;
use crate::plan::layout::{BLOCK, View};
use crate::plan::output::Output;
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
    /// The images.
    Input(Images),
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
    Logits {
        from: View,
        images: usize,
        classes: usize,
    },
    /// A feature map or its means to the output.
    Output(Output),
    /// Zeros in a border.
    Border(Border),
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
                Op::Input(op) => op.run(c),
                Op::Border(op) => op.run(c),
                Op::Output(op) => op.run(c),
                Op::Direct(op) => op.run(c),
                Op::Winograd(op) => op.run(c),
                Op::Pooling(op) => op.run(c),
                &Op::Mean { ref from, ref to, images, blocks, height, width } => {
                    for task in c.share(images * blocks) {
                        let (n, b) = (task / blocks, task % blocks);
                        let x = c.pointer(from, n * from.image + b * from.plane);
                        let to = c.pointer(to, n * to.image + b * to.plane);
                        (c.kernels.mean)(x, from.row, height, width, to);
                    }
                }
                &Op::Logits { ref from, images, classes } => {
                    for n in c.share(images) {
                        for o in 0..classes {
                            let from = c.pointer(from, o / BLOCK * from.plane + n * from.image + o % BLOCK);
                            *c.output.add(n * classes + o) = *from;
                        }
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
