//! The step that clears the border of a feature map.

use super::context::Context;
use super::layout::{BLOCK, FeatureMap, View};

/// Zeros in the border of every plane.
pub(crate) struct Border {
    to: View,
    images: usize,
    blocks: usize,
    height: usize,
    width: usize,
}

impl Border {
    pub(crate) fn of(map: &FeatureMap) -> Self {
        let [height, width] = map.size;
        Self { to: map.view_with_border(0), images: map.images, blocks: map.blocks(), height, width }
    }

    /// The tensor of the map.
    pub(crate) fn tensor(&self) -> usize {
        self.to.tensor
    }

    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let &Self { ref to, images, blocks, height, width } = self;
        for task in c.share(images * blocks) {
            // SAFETY: the plan has checked that whole planes, borders included, lie inside the tensor; the border of a
            // plane is this task's alone.
            unsafe {
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

    /// Panics unless the step stays inside a tensor of `tensor` floats.
    pub(crate) fn check(&self, tensor: usize) {
        let Self { to, images, blocks, height, width } = self;
        assert!(to.row == (width + 2) * BLOCK && *height > 0);
        let last = (blocks - 1) * to.plane + (height + 2) * to.row;
        assert!(to.offset + (images - 1) * to.image + last <= tensor);
    }
}
