//! Steps that pack filters for the inner loops and unpack their gradients.

use crate::conv::filters::Packed;
use crate::plan::context::Context;
use crate::plan::layout::BLOCK;

use super::call::Buffers;

/// Maximum number of taps of a packed filter: 4×4.
const TAPS: usize = 16;
/// Maximum number of output channels of a product tile.
const MAX_OC: usize = 32;

/// Position of a channel in the filters of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    /// The convolution, if this channel determines it.
    pub(super) conv: Option<usize>,
    /// Offset of the channel's filters.
    pub(super) offset: usize,
    /// Index into the tap tables.
    pub(super) table: usize,
}

/// Element of a filter at each tap, for each tap table; `None` for zero.
pub(super) type Taps = Vec<Vec<Option<usize>>>;

/// Order of packed filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `[tile][group of channels][tap][channel in the group][oc]`.
    Direct {
        /// Number of channels in a group.
        depth: usize,
    },
    /// `[tile][position][channel][oc]`, transformed for the scheme of this number.
    Winograd(usize),
}

/// Packs the filters of one or several convolutions, of equal taps.
pub(super) struct Pack {
    /// The output channels of the product, whole tiles of them.
    pub(super) lanes: Vec<Option<Channel>>,
    /// The input channels of the product.
    pub(super) channels: Vec<Option<Channel>>,
    pub(super) taps: Taps,
    pub(super) order: Order,
    /// The tensor written.
    pub(super) to: usize,
}

impl Pack {
    /// Number of positions of a packed filter.
    fn positions(&self) -> usize {
        match self.order {
            Order::Direct { .. } => self.taps[0].len(),
            Order::Winograd(scheme) => [16, 36, 36][scheme],
        }
    }

    /// Number of floats of a tile.
    pub(super) fn tile_len(&self, oc: usize) -> usize {
        self.positions() * self.channels.len() * oc
    }

    /// Extents of the packed filters.
    pub(super) fn packed(&self, oc: usize) -> Packed {
        Packed::in_tensor(self.to, self.lanes.len() / oc, self.tile_len(oc), oc)
    }

    /// # Safety
    /// The safety contract of [`Context`] and of [`Buffers`].
    pub(super) unsafe fn run(&self, c: &Context<'_>, buffers: &Buffers<'_>) {
        let oc = c.kernels.oc;
        // Tasks are input channels of a tile.
        let mut filters = [0.0f32; TAPS * MAX_OC];
        let used = self.taps[0].len() * oc;
        for task in c.share(self.lanes.len() / oc * self.channels.len()) {
            let (tile, channel) = (task / self.channels.len(), task % self.channels.len());
            filters[..used].fill(0.0);
            self.gather(buffers, tile * oc, channel, &mut filters, oc);
            // SAFETY: the plan has checked the length of the tensor; the positions of a channel are its task's alone.
            unsafe {
                let to = c.arena.add(c.offsets[self.to] + tile * self.tile_len(oc));
                match self.order {
                    Order::Direct { depth } => {
                        let taps = self.positions();
                        let to = to.add((channel / depth * taps * depth + channel % depth) * oc);
                        for (t, filter) in filters.chunks(oc).take(taps).enumerate() {
                            to.add(t * depth * oc).copy_from_nonoverlapping(filter.as_ptr(), oc);
                        }
                    }
                    Order::Winograd(scheme) => {
                        let transform = c.kernels.winograd_filter[scheme];
                        transform(filters.as_ptr(), to.add(channel * oc), self.channels.len() * oc);
                    }
                }
            }
        }
    }

    /// The filters between an input channel and the output channels from `lane` on, `[tap][oc]`.
    fn gather(&self, buffers: &Buffers<'_>, lane: usize, channel: usize, filters: &mut [f32], oc: usize) {
        let Some(channel) = self.channels[channel] else { return };
        let taps = &self.taps[channel.table];
        for (l, lane) in self.lanes[lane..lane + oc].iter().enumerate() {
            let Some(lane) = lane else { continue };
            let Some(conv) = lane.conv.or(channel.conv) else { continue };
            let weight = buffers.weight(conv);
            let filter = &weight[lane.offset + channel.offset..];
            for (t, tap) in taps.iter().enumerate() {
                if let Some(tap) = *tap {
                    filters[t * oc + l] = filter[tap];
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensor and the filters of its convolutions.
    pub(super) fn check(&self, oc: usize, tensor: usize, weight_len: impl Fn(usize) -> usize) {
        assert!(self.lanes.len().is_multiple_of(oc) && oc <= MAX_OC);
        assert!(self.lanes.len() / oc * self.tile_len(oc) <= tensor);
        let most = |channels: &[Option<Channel>], conv| {
            channels.iter().flatten().filter(|c| c.conv.is_none_or(|of| of == conv)).map(|c| c.offset).max()
        };
        let convs: Vec<usize> = self.lanes.iter().chain(&self.channels).flatten().filter_map(|c| c.conv).collect();
        let tap = self.taps.iter().flatten().flatten().max().copied().unwrap_or(0);
        for conv in convs {
            let last = most(&self.lanes, conv).unwrap_or(0) + most(&self.channels, conv).unwrap_or(0) + tap;
            assert!(last < weight_len(conv));
        }
        assert!(self.taps.iter().all(|taps| taps.len() == self.taps[0].len() && taps.len() <= TAPS));
        match self.order {
            Order::Direct { depth } => assert!(self.channels.len().is_multiple_of(depth)),
            Order::Winograd(scheme) => assert!(self.taps[0].len() == [9, 9, 16][scheme]),
        }
    }
}

/// Copies a weight gradient, `[tap][input channel][output channel]`, to the gradients of its convolutions.
pub(super) struct Unpack {
    /// The tensor read.
    pub(super) from: usize,
    /// The input channels of the convolution.
    pub(super) channels: Vec<Option<Channel>>,
    /// The output channels, with the convolution of each.
    pub(super) lanes: Vec<Option<Channel>>,
    pub(super) taps: Taps,
}

impl Unpack {
    /// # Safety
    /// The safety contract of [`Context`] and of [`Buffers`].
    pub(super) unsafe fn run(&self, c: &Context<'_>, buffers: &Buffers<'_>) {
        let columns = self.lanes.len();
        // Tasks are blocks of output channels.
        for task in c.share(columns / BLOCK) {
            for (i, channel) in self.channels.iter().enumerate() {
                let Some(channel) = channel else { continue };
                for (t, tap) in self.taps[channel.table].iter().enumerate() {
                    let Some(tap) = tap else { continue };
                    for o in task * BLOCK..(task + 1) * BLOCK {
                        let Some(Channel { conv: Some(conv), offset, .. }) = self.lanes[o] else { continue };
                        let to = buffers.convs[conv].d_weight;
                        if !to.is_null() {
                            // SAFETY: the plan has checked the tensor and the filters; the filters of an output channel
                            // are its task's alone.
                            unsafe {
                                let at = (t * self.channels.len() + i) * columns + o;
                                *to.add(offset + channel.offset + tap) = *c.arena.add(c.offsets[self.from] + at);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Panics unless the step stays inside its tensor and the filters of its convolutions.
    pub(super) fn check(&self, tensor: usize, weight_len: impl Fn(usize) -> usize) {
        assert!(self.lanes.len().is_multiple_of(BLOCK));
        assert!(self.taps.iter().all(|taps| taps.len() * self.channels.len() * self.lanes.len() <= tensor));
        let channel = self.channels.iter().flatten().map(|c| c.offset).max().unwrap_or(0);
        let tap = self.taps.iter().flatten().flatten().max().copied().unwrap_or(0);
        for lane in self.lanes.iter().flatten() {
            assert!(lane.conv.is_some_and(|conv| lane.offset + channel + tap < weight_len(conv)));
        }
    }
}
