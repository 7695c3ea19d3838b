//! The step of a convolution's weight gradient: for each tap a product of input and gradient, summed over all pixels.

use super::direct::pieces;
use crate::plan::context::Context;
use crate::plan::layout::{BLOCK, View};
use crate::simd::kernels::{WEIGHT_VECTORS, WeightTile};

/// A weight gradient, `[tap][input channel][output channel]`, physical channels both.
pub(crate) struct WeightGradient {
    /// View of the input from the first pixel of the first window, which may lie in the border.
    pub(crate) from: View,
    /// Number of channel blocks of the input.
    pub(crate) blocks: usize,
    /// Distance of two windows in pixels.
    pub(crate) stride: usize,
    /// Offset of each tap in the window, in floats.
    pub(crate) taps: Vec<usize>,
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

impl WeightGradient {
    /// Number of floats of the destination.
    pub(crate) fn len(&self) -> usize {
        self.taps.len() * self.blocks * self.out_blocks * BLOCK * BLOCK
    }

    /// Number of images and of rows that are summed for all weights before the next: as many as fit into the
    /// second-level cache, since each weight reads them again, but enough pixels that reading and writing the sums costs
    /// little.
    fn chunk(&self) -> [usize; 2] {
        const FLOATS: usize = 1 << 18;
        const PIXELS: usize = 192;
        let [height, width] = self.size;
        let row = (self.blocks * self.stride * self.stride + self.out_blocks) * width * BLOCK;
        let rows = (FLOATS / row).max(PIXELS / width).clamp(1, height);
        let rows = height.div_ceil(height.div_ceil(rows));
        let images = if rows < height { 1 } else { (FLOATS / (row * height)).max(PIXELS.div_ceil(height * width)) };
        let images = images.clamp(1, self.images);
        [self.images.div_ceil(self.images.div_ceil(images)), rows]
    }

    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let registers = self.out_blocks * BLOCK / c.kernels.lanes;
        let groups: Vec<(usize, usize)> = pieces(registers, WEIGHT_VECTORS).collect();
        let units = c.share(groups.len() * self.blocks);
        if units.is_empty() {
            return;
        }
        let [images, rows] = self.chunk();
        let [height, width] = self.size;
        for n in (0..self.images).step_by(images) {
            for y in (0..height).step_by(rows) {
                let extent = [images.min(self.images - n), rows.min(height - y), width];
                for unit in units.clone() {
                    // SAFETY: by the contract; the images and rows are inside.
                    unsafe { self.unit(c, groups[unit / self.blocks], unit % self.blocks, [n, y], extent) };
                }
            }
        }
    }

    /// Adds the sums over the `extent` from image and row `[n, y]` on to the gradients of one input channel block and
    /// `count` registers of output channels from `first` on.
    ///
    /// # Safety
    /// The safety contract of [`Context`]; block, registers, images and rows inside.
    unsafe fn unit(
        &self,
        c: &Context<'_>,
        (first, count): (usize, usize),
        block: usize,
        [n, y]: [usize; 2],
        extent: [usize; 3],
    ) {
        let (lanes, rows) = (c.kernels.lanes, c.kernels.rows);
        let (from, gradient) = (&self.from, &self.gradient);
        let columns = self.out_blocks * BLOCK;
        // SAFETY: the plan has checked all windows, the gradient and the destination; each weight belongs to one unit.
        unsafe {
            let mut dz = [std::ptr::null(); WEIGHT_VECTORS];
            for (v, dz) in dz.iter_mut().enumerate().take(count) {
                let channel = (first + v) * lanes;
                let extra = n * gradient.image + y * gradient.row + channel / BLOCK * gradient.plane + channel % BLOCK;
                *dz = c.pointer(gradient, extra).cast_const();
            }
            let x = c.pointer(from, n * from.image + y * self.stride * from.row + block * from.plane);
            let to = c.arena.add(c.offsets[self.to] + block * BLOCK * columns + first * lanes);
            for (t, tap) in self.taps.iter().enumerate() {
                for row in (0..BLOCK).step_by(rows) {
                    let job = WeightTile {
                        x: x.add(tap + row),
                        x_strides: [self.stride * BLOCK, self.stride * from.row, from.image],
                        dz,
                        dz_strides: [gradient.row, gradient.image],
                        extent,
                        to: to.add((t * self.blocks * BLOCK + row) * columns),
                        to_row: columns,
                        accumulate: n + y > 0,
                    };
                    (c.kernels.weight_tile[count - 1])(&job);
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensors, of the given lengths.
    pub(crate) fn check(&self, tensors: impl Fn(usize) -> usize) {
        let (from, gradient, [height, width]) = (&self.from, &self.gradient, self.size);
        let reach = self.taps.iter().max().copied().unwrap_or(0) + (width - 1) * self.stride * BLOCK + BLOCK;
        let last = (self.blocks - 1) * from.plane + (height - 1) * self.stride * from.row + reach;
        assert!(from.offset + (self.images - 1) * from.image + last <= tensors(from.tensor));
        let last = (self.out_blocks - 1) * gradient.plane + (height - 1) * gradient.row + width * BLOCK;
        assert!(gradient.offset + (self.images - 1) * gradient.image + last <= tensors(gradient.tensor));
        assert!(self.len() <= tensors(self.to));
    }
}
