//! The steps of a plan, and how one thread does its share of each.

use std::sync::Arc;

use super::direct::Direct;
use super::fused::Winograd;
use super::kernel::{BLOCK, Kernels, PoolRow};
use super::pack::Packed;
use super::team::share;

/// Where pixel (0, 0) of image 0, block 0 of an operand lies, and the distances from there, in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Index into the plan's tensors.
    pub(super) tensor: usize,
    /// Offset inside the tensor.
    pub(super) at: usize,
    pub(super) row: usize,
    pub(super) plane: usize,
    pub(super) image: usize,
}

/// What a step works on.
pub(super) struct Context<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) threads: usize,
    pub(super) thread: usize,
    /// Start of the arena.
    pub(super) arena: *mut f32,
    /// Offset of each tensor in the arena.
    pub(super) offsets: &'a [usize],
    /// This thread's working memory.
    pub(super) scratch: *mut f32,
    pub(super) input: *const f32,
    pub(super) output: *mut f32,
}

impl Context<'_> {
    /// # Safety
    /// `extra` must stay inside the place's tensor.
    pub(super) unsafe fn at(&self, place: &Place, extra: usize) -> *mut f32 {
        // SAFETY: the tensor lies inside the arena; `at + extra` inside the tensor.
        unsafe {
            self.arena
                .add(self.offsets[place.tensor] + place.at + extra)
        }
    }

    pub(super) fn share(&self, total: usize) -> std::ops::Range<usize> {
        share(total, self.threads, self.thread)
    }
}

/// 3×3 pooling.
pub(super) struct Pooling {
    /// First pixel of the first window, which may lie in the border.
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) stride: usize,
    pub(super) images: usize,
    pub(super) blocks: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// For an average: the filters whose bias and floor follow.
    pub(super) average: Option<Average>,
}

pub(super) struct Average {
    /// Bias and floor, one value per channel.
    pub(super) finish: Arc<Packed>,
    /// One over the divisor, `[height][width]`.
    pub(super) scale: Vec<f32>,
}

pub(super) enum Op {
    /// `[N, 3, H, W]` to rows of interleaved channels inside a border of zeros. With two phases the pixels of every two rows and
    /// columns lie side by side in one: channel `c` of pixel `(2u + p, 2v + q)` at `[u][v][(2p + q) · 3 + c]`.
    Input {
        to: Place,
        images: usize,
        first: usize,
        size: [usize; 2],
        before: [usize; 2],
        padded: [usize; 2],
        phases: usize,
    },
    Direct(Direct),
    Winograd(Winograd),
    Pooling(Pooling),
    /// Means of all pixels.
    Mean {
        from: Place,
        to: Place,
        images: usize,
        blocks: usize,
        height: usize,
        width: usize,
    },
    /// `[block][N][16]` to `[N, classes]`.
    Output {
        from: Place,
        images: usize,
        classes: usize,
    },
    /// The border of every plane.
    Border {
        to: Place,
        images: usize,
        blocks: usize,
        height: usize,
        width: usize,
    },
}

impl Op {
    /// Does `c.thread`'s share.
    ///
    /// # Safety
    /// The plan that holds the step has checked it against its tensors; the arena, the scratch memory (this thread's
    /// alone), input and output have the plan's extents; other threads run the same phase of the same plan, with other
    /// `thread` numbers, or nothing.
    pub(super) unsafe fn run(&self, c: &Context<'_>) {
        // SAFETY: the same contract.
        unsafe {
            match self {
                Op::Direct(op) => op.run(c),
                Op::Winograd(op) => op.run(c),
                Op::Pooling(op) => op.run(c),
                &Op::Input {
                    ref to,
                    images,
                    first,
                    size: [height, width],
                    before,
                    padded,
                    phases,
                } => {
                    let lanes = to.row / padded[1];
                    for task in c.share(images * padded[0]) {
                        let (n, y) = (task / padded[0], task % padded[0]);
                        // SAFETY: one padded row of the tensor, this task's alone.
                        let row = std::slice::from_raw_parts_mut(
                            c.at(to, n * to.image + y * to.row),
                            to.row,
                        );
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
                                // Columns of the image that have this phase.
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
                &Op::Mean {
                    ref from,
                    ref to,
                    images,
                    blocks,
                    height,
                    width,
                } => {
                    for task in c.share(images * blocks) {
                        let (n, b) = (task / blocks, task % blocks);
                        let x = c.at(from, n * from.image + b * from.plane);
                        let to = c.at(to, n * to.image + b * to.plane);
                        (c.kernels.mean)(x, from.row, height, width, to);
                    }
                }
                &Op::Output {
                    ref from,
                    images,
                    classes,
                } => {
                    for n in c.share(images) {
                        for o in 0..classes {
                            let from =
                                c.at(from, o / BLOCK * from.plane + n * from.image + o % BLOCK);
                            *c.output.add(n * classes + o) = *from;
                        }
                    }
                }
                &Op::Border {
                    ref to,
                    images,
                    blocks,
                    height,
                    width,
                } => {
                    for task in c.share(images * blocks) {
                        let plane = c.at(to, task / blocks * to.image + task % blocks * to.plane);
                        // `to` is the corner of the border.
                        plane.write_bytes(0, to.row + BLOCK);
                        for y in 1..height {
                            plane
                                .add(y * to.row + (width + 1) * BLOCK)
                                .write_bytes(0, 2 * BLOCK);
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
    /// As [`Op::run`].
    unsafe fn run(&self, c: &Context<'_>) {
        let (from, to) = (&self.from, &self.to);
        for task in c.share(self.images * self.blocks * self.height) {
            let (plane, y) = (task / self.height, task % self.height);
            let (n, b) = (plane / self.blocks, plane % self.blocks);
            // SAFETY: the plan has checked windows and destinations; the row is this task's alone.
            unsafe {
                let job = PoolRow {
                    x: c.at(
                        from,
                        n * from.image + b * from.plane + y * self.stride * from.row,
                    ),
                    row: from.row,
                    width: self.width,
                    stride: self.stride,
                    to: c.at(to, n * to.image + b * to.plane + y * to.row),
                };
                match &self.average {
                    None => (c.kernels.max_row)(&job),
                    Some(average) => {
                        let scale = average.scale[y * self.width..].as_ptr();
                        let bias = average.finish.bias.as_ptr().add(b * BLOCK);
                        let floor = average.finish.floor.as_ptr().add(b * BLOCK);
                        (c.kernels.average_row)(&job, scale, bias, floor);
                    }
                }
            }
        }
    }
}
