//! The step of a direct convolution: a sum over each window.

use std::sync::Arc;

use crate::conv::filters::Packed;
use crate::plan::context::Context;
use crate::plan::layout::{BLOCK, VECTORS, View};
use crate::simd::kernels::{PixelStride, Product};

/// A direct convolution by [`Product`] tiles.
pub(crate) struct DirectConv {
    /// View from the first pixel of the first window, which may lie in the border.
    pub(crate) from: View,
    /// Stride between the first windows of two output rows, in floats.
    pub(crate) row: usize,
    pub(crate) pixel_stride: PixelStride,
    pub(crate) offsets: Vec<usize>,
    pub(crate) depth: usize,
    pub(crate) filters: Arc<Packed>,
    /// Destination of each output channel block.
    pub(crate) to: Vec<View>,
    /// Stride between two neighbouring output pixels, in floats.
    pub(crate) to_step: usize,
    /// True to add to the destinations instead of overwriting them.
    pub(crate) accumulate: bool,
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Number of images that a thread processes for one tile of output channels before it takes the next tile; 0 for
    /// all tiles of one row of pixels before the next row.
    pub(crate) group: usize,
}

/// Partition of `width` pixels into pieces of at most `most` pixels and nearly equal size: `(start, pixels)`.
pub(crate) fn pieces(width: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = width.div_ceil(most);
    (0..n).map(move |i| (width * i / n, width * (i + 1) / n - width * i / n))
}

/// Destinations of the registers of output channels of product tile `tile`, null beyond the last channel block, and the
/// stride between the rows of each.
///
/// # Safety
/// `extra` floats after the start of each view must be inside its tensor.
pub(crate) unsafe fn registers(
    c: &Context<'_>,
    to: &[View],
    tile: usize,
    extra: impl Fn(&View) -> usize,
) -> ([*mut f32; VECTORS], [usize; VECTORS]) {
    let mut pointers = [std::ptr::null_mut(); VECTORS];
    let mut rows = [0; VECTORS];
    for v in 0..VECTORS {
        let channel = tile * c.kernels.oc + v * c.kernels.lanes;
        if let Some(view) = to.get(channel / BLOCK) {
            // SAFETY: by the contract; the lane is inside the channel block.
            pointers[v] = unsafe { c.pointer(view, extra(view) + channel % BLOCK) };
            rows[v] = view.row;
        }
    }
    (pointers, rows)
}

/// [`DirectConv::group`] for images of `image` floats, chosen so that the operand that is read repeatedly, filters or
/// pixels, stays in the second-level cache.
pub(crate) fn images_together(filters: &Packed, image: usize) -> usize {
    const FLOATS: usize = 1 << 17;
    match filters.tiles * filters.tile_len {
        n if n <= (FLOATS / 2).max(image / 2) => 0,
        _ => (FLOATS / image).max(1),
    }
}

impl DirectConv {
    /// Tile of output channels and row of pixels, counted through all images, of a task.
    fn order(&self, task: usize) -> (usize, usize) {
        let tiles = self.filters.tiles;
        if self.group == 0 {
            return (task % tiles, task / tiles);
        }
        let full = self.group * self.height;
        let first = task / (tiles * full) * full;
        let rows = full.min(self.images * self.height - first);
        let task = task - tiles * first;
        (task / rows, first + task % rows)
    }

    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let (tiles, oc) = (self.filters.tiles, c.kernels.oc);
        let rows = self.images * self.height;
        for task in c.share(tiles * rows) {
            let (tile, row) = self.order(task);
            let (n, y) = (row / self.height, row % self.height);
            // SAFETY: the plan has checked that windows and destinations of all images, rows and pixels lie inside
            // their tensors, and the lengths of the filters; only this task writes these pixels of these channels.
            unsafe {
                let (to, _) = registers(c, &self.to, tile, |p| n * p.image + y * p.row);
                let x = c.pointer(&self.from, n * self.from.image + y * self.row);
                for (start, pixels) in pieces(self.width, c.kernels.pixels()) {
                    let job = Product {
                        x: x.add(start * self.pixel_stride.floats()),
                        offsets: self.offsets.as_ptr(),
                        groups: self.offsets.len(),
                        depth: self.depth,
                        w: self.filters.tile(c, tile),
                        bias: self.filters.bias.as_ptr().add(tile * oc),
                        floor: self.filters.floor.as_ptr().add(tile * oc),
                        to: to.map(|p| if p.is_null() { p } else { p.add(start * self.to_step) }),
                        to_step: self.to_step,
                        accumulate: self.accumulate,
                    };
                    (c.kernels.product[pixels - 1][self.pixel_stride as usize])(&job);
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensors, of the given lengths, and its filters.
    pub(crate) fn check(&self, oc: usize, tensors: impl Fn(usize) -> usize) {
        let Self { from, to, images, height, width, filters, .. } = self;
        let reach = self.offsets.iter().max().copied().unwrap_or(0) + self.depth;
        let last = (height - 1) * self.row + (width - 1) * self.pixel_stride.floats() + reach;
        assert!(from.offset + (images - 1) * from.image + last <= tensors(from.tensor));
        for to in to {
            let last = (height - 1) * to.row + (width - 1) * self.to_step + BLOCK;
            assert!(to.offset + (images - 1) * to.image + last <= tensors(to.tensor));
        }
        filters.check(oc, to.len(), tensors);
        assert!(filters.tile_len == self.offsets.len() * self.depth * oc);
    }
}
