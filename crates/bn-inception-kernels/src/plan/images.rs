//! The step that copies images into the arena.

use super::context::Context;
use super::layout::View;

/// `[N, 3, H, W]` to rows of interleaved channels inside a border of zeros. With two phases the pixels of every two
/// rows and columns are side by side in one: channel `c` of pixel `(2u + p, 2v + q)` is at `[u][v][(2p + q) · 3 + c]`.
pub(crate) struct Images {
    pub(crate) to: View,
    pub(crate) images: usize,
    /// Position of the first image in the batch.
    pub(crate) first: usize,
    /// Height and width of an image.
    pub(crate) size: [usize; 2],
    /// Rows above and columns before the image.
    pub(crate) before: [usize; 2],
    /// Rows and columns of the destination.
    pub(crate) padded: [usize; 2],
    /// 1 or 2.
    pub(crate) phases: usize,
}

impl Images {
    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let &Self { ref to, images, first, size: [height, width], before, padded, phases } = self;
        let lanes = to.row / padded[1];
        for task in c.share(images * padded[0]) {
            let (n, y) = (task / padded[0], task % padded[0]);
            // SAFETY: one padded row of the tensor, this task's alone.
            let row = unsafe { std::slice::from_raw_parts_mut(c.pointer(to, n * to.image + y * to.row), to.row) };
            row.fill(0.0);
            for task in 0..3 * phases {
                let (p, channel) = (task / 3, task % 3);
                let y = (y * phases + p).checked_sub(before[0]);
                let Some(y) = y.filter(|&y| y < height) else {
                    continue;
                };
                let at = (((first + n) * 3 + channel) * height + y) * width;
                // SAFETY: row `y` of a plane of the input.
                let from = unsafe { std::slice::from_raw_parts(c.input.add(at), width) };
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

    /// Panics unless the step stays inside an input of `input` floats and a destination of `tensor` floats.
    pub(crate) fn check(&self, input: usize, tensor: usize) {
        let Self { to, images, first, size, before, padded, phases } = self;
        assert!((first + images) * 3 * size[0] * size[1] <= input);
        let lanes = to.row / padded[1];
        assert!(to.row == lanes * padded[1] && lanes >= 3 * phases * phases);
        assert!(padded[1] * phases >= before[1] + size[1]);
        assert!(to.offset + (images - 1) * to.image + padded[0] * to.row <= tensor);
    }
}
