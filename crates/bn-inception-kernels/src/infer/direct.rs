//! The direct convolution step: every sum over its window.

use std::sync::Arc;

use super::kernel::{BLOCK, Product, Step, VECTORS};
use super::pack::Packed;
use super::step::{Context, Place};

/// Sums of products over a window, see [`Product`].
pub(super) struct Direct {
    /// First pixel of the first window, which may lie in the border.
    pub(super) from: Place,
    /// Floats between the first windows of two output rows.
    pub(super) row: usize,
    pub(super) step: Step,
    pub(super) offsets: Vec<usize>,
    pub(super) depth: usize,
    pub(super) filters: Arc<Packed>,
    /// Destination of each output block.
    pub(super) to: Vec<Place>,
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Images whose pixels a thread goes through for one tile of output channels before it takes the next tile. 0: it goes
    /// through the tiles for each row of pixels.
    pub(super) group: usize,
}

/// Pieces of at most `most` pixels, as equal as can be, that make up `width`: `(start, pixels)`.
pub(super) fn pieces(width: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = width.div_ceil(most);
    (0..n).map(move |i| (width * i / n, width * (i + 1) / n - width * i / n))
}

/// Pointers to the registers of output channels of product tile `tile`; null beyond the last block.
///
/// # Safety
/// `extra` floats after each place's first pixel must be inside its tensor.
pub(super) unsafe fn registers(
    c: &Context<'_>,
    to: &[Place],
    tile: usize,
    extra: impl Fn(&Place) -> usize,
) -> ([*mut f32; VECTORS], [usize; VECTORS]) {
    let mut pointers = [std::ptr::null_mut(); VECTORS];
    let mut rows = [0; VECTORS];
    for v in 0..VECTORS {
        let channel = tile * c.kernels.oc + v * c.kernels.lanes;
        if let Some(place) = to.get(channel / BLOCK) {
            // SAFETY: the caller's promise; the lane is inside the block.
            pointers[v] = unsafe { c.at(place, extra(place) + channel % BLOCK) };
            rows[v] = place.row;
        }
    }
    (pointers, rows)
}

impl Direct {
    /// Tile of output channels and row of pixels (of all images) of a task.
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
    /// As [`Op::run`].
    pub(super) unsafe fn run(&self, c: &Context<'_>) {
        let (tiles, oc) = (self.filters.tiles, c.kernels.oc);
        let rows = self.images * self.height;
        for task in c.share(tiles * rows) {
            let (tile, row) = self.order(task);
            let (n, y) = (row / self.height, row % self.height);
            // SAFETY: the plan has checked that windows and destinations of all images, rows and pixels lie inside their
            // tensors, and the lengths of the filters; this task alone writes these pixels of these channels.
            unsafe {
                let (to, _) = registers(c, &self.to, tile, |p| n * p.image + y * p.row);
                let x = c.at(&self.from, n * self.from.image + y * self.row);
                for (start, pixels) in pieces(self.width, c.kernels.pixels()) {
                    let job = Product {
                        x: x.add(start * self.step.floats()),
                        offsets: self.offsets.as_ptr(),
                        groups: self.offsets.len(),
                        depth: self.depth,
                        w: self
                            .filters
                            .weights
                            .as_ptr()
                            .add(tile * self.filters.tile_len),
                        bias: self.filters.bias.as_ptr().add(tile * oc),
                        floor: self.filters.floor.as_ptr().add(tile * oc),
                        to: to.map(|p| if p.is_null() { p } else { p.add(start * BLOCK) }),
                        to_step: BLOCK,
                    };
                    (c.kernels.product[pixels - 1][self.step as usize])(&job);
                }
            }
        }
    }
}
