//! The step that copies a feature map to a plain tensor.

use std::sync::Arc;

use super::context::Context;
use super::layout::{BLOCK, ChannelMap, FeatureMap, View};

/// A feature map to `[N, C, H, W]`, or the means over its pixels to `[N, C]`.
#[derive(Clone)]
pub(crate) struct Output {
    from: View,
    /// Channel of the plain tensor in each channel of the feature map.
    channels: Arc<ChannelMap>,
    images: usize,
    /// Position of the map's first image in the batch.
    first: usize,
    size: [usize; 2],
    mean: bool,
}

impl Output {
    /// The step for the images of `map`, the first of which is number `first` of the batch.
    pub(crate) fn of(map: &FeatureMap, first: usize, mean: bool) -> Self {
        let (from, channels) = (map.view(0), map.channels.clone());
        Self { from, channels, images: map.images, first, size: map.size, mean }
    }

    /// The tensor of the map.
    pub(crate) fn tensor(&self) -> usize {
        self.from.tensor
    }

    fn plain_channels(&self) -> usize {
        self.channels.iter().flatten().count()
    }

    /// Number of floats that an image has in the plain tensor.
    fn image_len(&self) -> usize {
        let pixels = if self.mean { 1 } else { self.size[0] * self.size[1] };
        self.plain_channels() * pixels
    }

    /// Number of floats of the plain tensor up to the end of the map's last image.
    pub(crate) fn end(&self) -> usize {
        (self.first + self.images) * self.image_len()
    }

    /// # Safety
    /// The safety contract of [`Context`].
    pub(crate) unsafe fn run(&self, c: &Context<'_>) {
        let [height, width] = self.size;
        let blocks = self.channels.len() / BLOCK;
        let image_len = self.image_len();
        for task in c.share(self.images * blocks) {
            let (n, b) = (task / blocks, task % blocks);
            let lanes = self.channels[b * BLOCK..(b + 1) * BLOCK].iter().enumerate();
            let lanes = lanes.filter_map(|(lane, channel)| channel.map(|channel| (lane, channel)));
            // SAFETY: the plan has checked the view; nothing writes to the map in this phase.
            let from = unsafe { c.plane(&self.from, n, b, self.size) };
            // SAFETY: the plan has checked the length of the plain tensor, in which each channel of an image is that of
            // one task: this one's alone, row by row.
            let plain = |at: usize, len: usize| unsafe {
                std::slice::from_raw_parts_mut(c.output.add((self.first + n) * image_len + at), len)
            };
            if self.mean {
                let mut mean = [0.0; BLOCK];
                // SAFETY: the plane's pixels, and room for one value of each channel.
                unsafe { (c.kernels.mean)(from.as_ptr(), self.from.row, height, width, mean.as_mut_ptr()) };
                for (lane, channel) in lanes {
                    plain(channel, 1)[0] = mean[lane];
                }
                continue;
            }
            for y in 0..height {
                let (row, _) = from[y * self.from.row..][..width * BLOCK].as_chunks::<BLOCK>();
                for (lane, channel) in lanes.clone() {
                    for (to, pixel) in plain((channel * height + y) * width, width).iter_mut().zip(row) {
                        *to = pixel[lane];
                    }
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensor, of `tensor` floats, and the plain one, of `plain` floats, and
    /// writes to each channel of that once.
    pub(crate) fn check(&self, tensor: usize, plain: usize) {
        let Self { from, channels, images, size, .. } = self;
        let blocks = channels.len() / BLOCK;
        let plane = (size[0] - 1) * from.row + size[1] * BLOCK;
        assert!(from.offset + (images - 1) * from.image + (blocks - 1) * from.plane + plane <= tensor);
        assert!(channels.iter().flatten().copied().eq(0..self.plain_channels()));
        assert!(self.end() <= plain);
    }
}
