//! Steps on whole feature maps besides convolutions: pools, and copies from plain `[N, C, H, W]` tensors.

use std::sync::Arc;

use crate::norm::{Lanes, Size};
use crate::plan::context::Context;
use crate::plan::layout::{BLOCK, ChannelMap, View};
use crate::pool::Shape;

use super::call::Buffers;

/// A 3×3 pool.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) shape: Shape,
    pub(super) images: usize,
    pub(super) blocks: usize,
    /// The input.
    pub(super) x: View,
    /// The output, or its gradient.
    pub(super) y: View,
    /// The input's gradient; that of the output in a forward pass.
    pub(super) dx: View,
    pub(super) kind: PoolKind,
}

#[derive(Clone)]
pub(super) enum PoolKind {
    Max,
    /// Gradient of the maximum; `accumulate` adds to what is there.
    MaxBackward {
        accumulate: bool,
    },
    /// Reciprocal of each window's divisor.
    Average(Arc<Vec<f32>>),
    AverageBackward(Arc<Vec<f32>>),
}

impl Pool {
    /// # Safety
    /// The safety contract of [`Context`].
    pub(super) unsafe fn run(&self, c: &Context<'_>) {
        let Shape { size, out, .. } = self.shape;
        for task in c.share(self.images * self.blocks) {
            let (n, b) = (task / self.blocks, task % self.blocks);
            // SAFETY: the plan has checked all views; the planes written are this task's alone, and of other maps than
            // those read.
            unsafe {
                let x = || c.plane(&self.x, n, b, size);
                match &self.kind {
                    PoolKind::Max => (c.kernels.pool.max)(&self.shape, x(), c.plane_mut(&self.y, n, b, out)),
                    PoolKind::Average(scale) => {
                        (c.kernels.pool.average)(&self.shape, scale, x(), c.plane_mut(&self.y, n, b, out));
                    }
                    PoolKind::AverageBackward(scale) => {
                        let (dy, dx) = (c.plane(&self.y, n, b, out), c.plane_mut(&self.dx, n, b, size));
                        (c.kernels.pool.average_backward)(&self.shape, scale, dy, dx);
                    }
                    PoolKind::MaxBackward { accumulate } => {
                        let (dy, dx) = (c.plane(&self.y, n, b, out), c.plane_mut(&self.dx, n, b, size));
                        if !accumulate {
                            for y in 0..size[0] {
                                dx[y * self.dx.row..][..size[1] * BLOCK].fill(0.0);
                            }
                        }
                        (c.kernels.pool.max_backward)(&self.shape, x(), dy, dx);
                    }
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensors, of the given lengths.
    pub(super) fn check(&self, tensors: impl Fn(usize) -> usize) {
        let inside = |view: &View, size: Size, row: usize| {
            let plane = (size[0] - 1) * view.row + size[1] * BLOCK;
            let last = (self.images - 1) * view.image + (self.blocks - 1) * view.plane + plane;
            assert!(view.row == row && view.offset + last <= tensors(view.tensor));
        };
        let Shape { size, out, rows, .. } = self.shape;
        inside(&self.x, size, rows[0]);
        inside(&self.y, out, rows[1]);
        inside(&self.dx, size, rows[0]);
        let apart = |a: &View, b: &View| assert!(a.tensor != b.tensor);
        apart(&self.x, &self.y);
        match &self.kind {
            PoolKind::Max => {}
            PoolKind::MaxBackward { .. } => {
                apart(&self.dx, &self.x);
                apart(&self.dx, &self.y);
            }
            PoolKind::Average(scale) | PoolKind::AverageBackward(scale) => {
                assert!(scale.len() == out[0] * out[1] && size == out && self.shape.stride == 1);
            }
        }
    }
}

/// A copy of a plain tensor to a feature map.
#[derive(Clone)]
pub(super) struct Copy {
    pub(super) view: View,
    /// Channel of the plain tensor in each channel of the feature map.
    pub(super) channels: Arc<ChannelMap>,
    pub(super) images: usize,
    pub(super) size: Size,
    pub(super) source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The network's input, `[N, C, H, W]`.
    Input,
    /// The gradient of the network's output, `[N, C, H, W]`.
    OutputGradient,
    /// The gradient of the mean, `[N, C]`, the same to all pixels.
    MeanGradient,
}

impl Copy {
    fn plain_channels(&self) -> usize {
        self.channels.iter().flatten().count()
    }

    /// Number of floats of the plain tensor.
    pub(super) fn plain_len(&self) -> usize {
        let pixels = match self.source {
            Source::MeanGradient => 1,
            Source::Input | Source::OutputGradient => self.size[0] * self.size[1],
        };
        self.images * self.plain_channels() * pixels
    }

    /// # Safety
    /// The safety contract of [`Context`] and of [`Buffers`].
    pub(super) unsafe fn run(&self, c: &Context<'_>, buffers: &Buffers<'_>) {
        let [height, width] = self.size;
        let (blocks, channels) = (self.channels.len() / BLOCK, self.plain_channels());
        let read = |at: usize| {
            // SAFETY: the plan has checked the length of the plain tensor.
            unsafe {
                match self.source {
                    Source::Input => *c.input.add(at),
                    Source::OutputGradient | Source::MeanGradient => *buffers.output_gradient.add(at),
                }
            }
        };
        for task in c.share(self.images * blocks) {
            let (n, b) = (task / blocks, task % blocks);
            let lanes = &self.channels[b * BLOCK..(b + 1) * BLOCK];
            // SAFETY: the plan has checked the view; the plane is this task's alone.
            let to = unsafe { c.plane_mut(&self.view, n, b, self.size) };
            if self.source == Source::MeanGradient {
                let mut gradient: Lanes = [0.0; BLOCK];
                for (gradient, channel) in gradient.iter_mut().zip(lanes) {
                    *gradient = channel.map_or(0.0, |o| read(n * channels + o)) / (height * width) as f32;
                }
                for y in 0..height {
                    for to in to[y * self.view.row..][..width * BLOCK].as_chunks_mut().0 {
                        *to = gradient;
                    }
                }
                continue;
            }
            for (l, channel) in lanes.iter().enumerate() {
                for y in 0..height {
                    for x in 0..width {
                        let value = channel.map_or(0.0, |o| read(((n * channels + o) * height + y) * width + x));
                        to[y * self.view.row + x * BLOCK + l] = value;
                    }
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensor, of the given length, and the plain tensor, of `plain` floats.
    pub(super) fn check(&self, tensor: usize, plain: usize) {
        let view = &self.view;
        let blocks = self.channels.len() / BLOCK;
        let plane = (self.size[0] - 1) * view.row + self.size[1] * BLOCK;
        assert!(view.offset + (self.images - 1) * view.image + (blocks - 1) * view.plane + plane <= tensor);
        let channels = self.plain_channels();
        assert!(self.channels.iter().flatten().all(|&channel| channel < channels));
        assert!(self.plain_len() <= plain);
    }
}
