//! Steps of batch normalisation and the non-linearity, over whole feature maps.

use crate::norm::{Activation, Channels, Lanes, Planes, Size};
use crate::plan::context::Context;
use crate::plan::layout::{BLOCK, View};

use super::call::Buffers;

/// Rows of the per-channel constants of a convolution: mean, 1/√(variance + ε), scale, shift, and the slope and offset
/// of the gradient.
const CONSTANTS: usize = 6;

/// A convolution's output `z`, and where normalisation and non-linearity keep and put what.
#[derive(Clone)]
pub(super) struct Normalization {
    /// Index of the convolution.
    pub(super) conv: usize,
    pub(super) channels: usize,
    pub(super) epsilon: f64,
    pub(super) activation: Activation,
    pub(super) z: View,
    pub(super) blocks: usize,
    pub(super) images: usize,
    pub(super) size: Size,
    /// Tensor of two values a channel and plane, `[N][block][2][16]`.
    pub(super) sums: usize,
    /// Tensor of the constants, `[block][CONSTANTS][16]`.
    pub(super) constants: usize,
}

/// Number of floats of the sums of a map.
pub(super) fn sums_len(images: usize, blocks: usize) -> usize {
    images * blocks * 2 * BLOCK
}

/// Number of floats of the constants of a map.
pub(super) fn constants_len(blocks: usize) -> usize {
    blocks * CONSTANTS * BLOCK
}

/// Steps of a [`Normalization`], in their order.
pub(super) enum Pass {
    /// Mean and squared distances of each plane.
    Moments,
    /// Constants of each channel, from the moments if the call normalises.
    Constants,
    /// The layer's output.
    Activate {
        /// View of the output.
        to: View,
    },
    /// Sums of the gradient over each plane.
    GradientSums {
        /// View of the output's gradient.
        from: View,
    },
    /// Gradients of scale and shift, and the constants of the gradient.
    GradientConstants,
    /// Gradient of `z`.
    Gradient {
        /// View of the output's gradient.
        from: View,
        /// View of the gradient of `z`.
        to: View,
    },
}

impl Normalization {
    /// # Safety
    /// The safety contract of [`Context`] and of [`Buffers`].
    pub(super) unsafe fn run(&self, pass: &Pass, c: &Context<'_>, buffers: &Buffers<'_>) {
        if let Pass::Constants | Pass::GradientConstants = pass {
            for b in c.share(self.blocks) {
                // SAFETY: the constants of a block are its task's alone; the sums are complete.
                unsafe {
                    match pass {
                        Pass::Constants => self.forward_constants(c, buffers, b),
                        _ => self.gradient_constants(c, buffers, b),
                    }
                }
            }
            return;
        }
        if matches!(pass, Pass::Moments) && !buffers.convs[self.conv].normalize {
            return;
        }
        let loops = &c.kernels.norm[self.activation as usize];
        for task in c.share(self.images * self.blocks) {
            let (n, b) = (task / self.blocks, task % self.blocks);
            // SAFETY: the plan has checked all views; the planes written are this task's alone, and of other maps than
            // those read.
            unsafe {
                let z = c.plane(&self.z, n, b, self.size);
                let planes = |from: &View| Planes {
                    z,
                    z_row: self.z.row,
                    da: c.plane(from, n, b, self.size),
                    da_row: from.row,
                    size: self.size,
                };
                let channels = || {
                    let [mean, _, scale, shift, ..] = self.constants(c, b);
                    Channels { mean, scale, shift }
                };
                match pass {
                    Pass::Moments => {
                        let [mean, squares] = self.sums(c, n, b);
                        (c.kernels.moments)(z, self.z.row, self.size, mean, squares);
                    }
                    Pass::Activate { to } => {
                        let y = c.plane_mut(to, n, b, self.size);
                        (loops.activate)(&channels(), z, self.z.row, self.size, y, to.row);
                    }
                    Pass::GradientSums { from } => {
                        let [of_gradient, of_product] = self.sums(c, n, b);
                        (loops.gradient_sums)(&channels(), &planes(from), of_gradient, of_product);
                    }
                    Pass::Gradient { from, to } => {
                        let [.., slope, offset] = self.constants(c, b);
                        let dz = c.plane_mut(to, n, b, self.size);
                        (loops.gradient)(&channels(), &planes(from), slope, offset, dz, to.row);
                    }
                    Pass::Constants | Pass::GradientConstants => {}
                }
            }
        }
    }

    /// The two sums of a plane.
    ///
    /// # Safety
    /// No other task accesses them.
    unsafe fn sums<'a>(&self, c: &Context<'a>, n: usize, b: usize) -> [&'a mut Lanes; 2] {
        // SAFETY: the plan has checked the length; by the contract.
        unsafe {
            let start = c.arena.add(c.offsets[self.sums] + (n * self.blocks + b) * 2 * BLOCK);
            [&mut *start.cast(), &mut *start.add(BLOCK).cast()]
        }
    }

    /// The constants of a block.
    ///
    /// # Safety
    /// Nothing writes them.
    unsafe fn constants<'a>(&self, c: &Context<'a>, b: usize) -> [&'a Lanes; CONSTANTS] {
        // SAFETY: the plan has checked the length; by the contract.
        unsafe {
            let start = c.arena.add(c.offsets[self.constants] + b * CONSTANTS * BLOCK);
            std::array::from_fn(|i| &*start.add(i * BLOCK).cast())
        }
    }

    /// Writes constant number `i` of a channel.
    ///
    /// # Safety
    /// No other task accesses the constants of the channel.
    unsafe fn set(&self, c: &Context<'_>, channel: usize, i: usize, value: f64) {
        let at = (channel / BLOCK * CONSTANTS + i) * BLOCK + channel % BLOCK;
        // SAFETY: the plan has checked the length; by the contract.
        unsafe { *c.arena.add(c.offsets[self.constants] + at) = value as f32 };
    }

    /// Number of values of a channel.
    fn count(&self) -> f64 {
        (self.images * self.size[0] * self.size[1]) as f64
    }

    /// # Safety
    /// The safety contract of [`Context`] and of [`Buffers`]; the moments are complete.
    unsafe fn forward_constants(&self, c: &Context<'_>, buffers: &Buffers<'_>, b: usize) {
        let conv = &buffers.convs[self.conv];
        for channel in b * BLOCK..(b + 1) * BLOCK {
            // SAFETY: by the contract; only channels inside the convolution's buffers are accessed.
            unsafe {
                let inside = channel < self.channels;
                let value = |start: *const f32, absent: f64| match inside && !start.is_null() {
                    true => f64::from(*start.add(channel)),
                    false => absent,
                };
                let (gamma, beta) = (value(conv.scale, 1.0), value(conv.shift, 0.0));
                let (mean, variance, inverse) = match conv.normalize {
                    true => self.batch_statistics(c, channel),
                    false => (0.0, 1.0, 1.0),
                };
                // Nothing reads the channels beyond the convolution's, but they stay finite.
                let (scale, shift) = match inside {
                    true => (gamma * inverse, beta - mean * gamma * inverse),
                    false => (0.0, 0.0),
                };
                for (i, value) in [mean, inverse, scale, shift, 0.0, 0.0].into_iter().enumerate() {
                    self.set(c, channel, i, value);
                }
                if inside && !conv.mean.is_null() {
                    *conv.mean.add(channel) = mean as f32;
                    *conv.variance.add(channel) = variance as f32;
                }
            }
        }
    }

    /// Mean, biased variance and 1/√(variance + ε) of a channel over the batch, from the moments of its planes (Chan et
    /// al. 1979).
    ///
    /// # Safety
    /// The moments are complete.
    unsafe fn batch_statistics(&self, c: &Context<'_>, channel: usize) -> (f64, f64, f64) {
        let moment = |n: usize, i: usize| {
            let at = ((n * self.blocks + channel / BLOCK) * 2 + i) * BLOCK + channel % BLOCK;
            // SAFETY: the plan has checked the length; nothing writes the moments now.
            f64::from(unsafe { *c.arena.add(c.offsets[self.sums] + at) })
        };
        let images = self.images as f64;
        let mean = (0..self.images).map(|n| moment(n, 0)).sum::<f64>() / images;
        let within = (0..self.images).map(|n| moment(n, 1)).sum::<f64>() / self.count();
        let between = (0..self.images).map(|n| (moment(n, 0) - mean).powi(2)).sum::<f64>() / images;
        let variance = within + between;
        (mean, variance, 1.0 / (variance + self.epsilon).sqrt())
    }

    /// # Safety
    /// The safety contract of [`Context`] and of [`Buffers`]; the sums of the gradient are complete.
    unsafe fn gradient_constants(&self, c: &Context<'_>, buffers: &Buffers<'_>, b: usize) {
        let conv = &buffers.convs[self.conv];
        for channel in b * BLOCK..((b + 1) * BLOCK).min(self.channels) {
            let sum = |i: usize| {
                let at = |n: usize| ((n * self.blocks + b) * 2 + i) * BLOCK + channel % BLOCK;
                // SAFETY: the plan has checked the length; nothing writes the sums now.
                let value = |n: usize| f64::from(unsafe { *c.arena.add(c.offsets[self.sums] + at(n)) });
                (0..self.images).map(value).sum::<f64>()
            };
            let (of_gradient, of_product) = (sum(0), sum(1));
            // SAFETY: by the contract; the channel is inside the convolution's buffers.
            unsafe {
                let [mean, inverse, scale, ..] = self.constants(c, b).map(|lanes| f64::from(lanes[channel % BLOCK]));
                // Statistics of the batch depend on z, and so does the gradient through them.
                if conv.normalize {
                    let slope = -scale * inverse * inverse * of_product / self.count();
                    let offset = -scale * of_gradient / self.count() - slope * mean;
                    self.set(c, channel, 4, slope);
                    self.set(c, channel, 5, offset);
                }
                if !conv.d_scale.is_null() {
                    *conv.d_scale.add(channel) = (of_product * inverse) as f32;
                }
                if !conv.d_shift.is_null() {
                    *conv.d_shift.add(channel) = of_gradient as f32;
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensors, of the given lengths.
    /// `channels` are those of each convolution.
    pub(super) fn check(&self, pass: &Pass, tensors: impl Fn(usize) -> usize, channels: impl Fn(usize) -> usize) {
        let inside = |view: &View| {
            let plane = (self.size[0] - 1) * view.row + self.size[1] * BLOCK;
            let last = (self.images - 1) * view.image + (self.blocks - 1) * view.plane + plane;
            assert!(view.offset + last <= tensors(view.tensor));
        };
        // What a pass writes is read as a slice by none of its tasks.
        let apart = |view: &View| assert!(view.tensor != self.sums && view.tensor != self.constants);
        apart(&self.z);
        assert!(self.sums != self.constants && self.channels == channels(self.conv));
        inside(&self.z);
        match pass {
            Pass::Activate { to } => {
                inside(to);
                assert!(to.tensor != self.z.tensor);
                apart(to);
            }
            Pass::GradientSums { from } => inside(from),
            Pass::Gradient { from, to } => {
                inside(from);
                inside(to);
                assert!(to.tensor != from.tensor && to.tensor != self.z.tensor);
                apart(to);
            }
            Pass::Moments | Pass::Constants | Pass::GradientConstants => {}
        }
        assert!(sums_len(self.images, self.blocks) <= tensors(self.sums));
        assert!(constants_len(self.blocks) <= tensors(self.constants));
        assert!(self.channels <= self.blocks * BLOCK);
    }
}
