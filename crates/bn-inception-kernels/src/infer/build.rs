//! One step after the other: tensors, lifetimes and the numbers of each kind of step.

use std::sync::Arc;

use super::direct::Direct;
use super::fused::Winograd;
use super::kernel::{BLOCK, Step};
use super::memory::{Aligned, Lifetime};
use super::network::{Conv, Network, NetworkError, windows};
use super::pack::{ChannelMap, Form, Packed, Part};
use super::plan::{Algorithm, Labelled, Setting};
use super::step::{Average, Op, Place, Pooling};

/// A feature map under construction, or a run of its images.
#[derive(Clone)]
pub(super) struct Map {
    pub(super) tensor: usize,
    pub(super) first: usize,
    pub(super) images: usize,
    pub(super) size: [usize; 2],
    pub(super) channels: Arc<ChannelMap>,
}

impl Map {
    pub(super) fn blocks(&self) -> usize {
        self.channels.len() / BLOCK
    }

    /// The corner of the border of a block.
    pub(super) fn corner(&self, block: usize) -> Place {
        let row = (self.size[1] + 2) * BLOCK;
        let plane = spread((self.size[0] + 2) * (self.size[1] + 2)) * BLOCK;
        let image = self.blocks() * plane;
        Place {
            tensor: self.tensor,
            at: self.first * image + block * plane,
            row,
            plane,
            image,
        }
    }

    /// The first pixel of a block.
    pub(super) fn place(&self, block: usize) -> Place {
        let corner = self.corner(block);
        Place {
            at: corner.at + corner.row + BLOCK,
            ..corner
        }
    }

    /// Destinations of blocks from `block` on.
    pub(super) fn places(&self, block: usize, count: usize) -> impl Iterator<Item = Place> {
        (block..block + count).map(|b| self.place(b))
    }

    pub(super) fn images(&self, first: usize, images: usize) -> Self {
        Self {
            first: self.first + first,
            images,
            ..self.clone()
        }
    }
}

pub(super) struct Builder<'a> {
    pub(super) network: &'a Network,
    pub(super) setting: &'a Setting<'a>,
    pub(super) phases: Vec<Vec<Labelled>>,
    pub(super) tensors: Vec<Lifetime>,
    pub(super) nothing: Arc<[Aligned; 2]>,
    pub(super) scratch: usize,
    pub(super) image: [usize; 2],
}

impl<'a> Builder<'a> {
    pub(super) fn new(network: &'a Network, setting: &'a Setting<'a>, image: [usize; 2]) -> Self {
        let oc = setting.kernels.oc;
        let mut nothing = [Aligned::zeroed(oc), Aligned::zeroed(oc)];
        nothing[1].as_mut_slice().fill(f32::NEG_INFINITY);
        Self {
            network,
            setting,
            phases: vec![Vec::new()],
            tensors: Vec::new(),
            nothing: Arc::new(nothing),
            scratch: 0,
            image,
        }
    }

    pub(super) fn tensor(&mut self, len: usize) -> usize {
        let phase = self.phases.len() - 1;
        self.tensors.push(Lifetime {
            len,
            first: phase,
            last: phase,
        });
        self.tensors.len() - 1
    }

    /// A new feature map; the current phase clears its border.
    pub(super) fn map(&mut self, images: usize, channels: ChannelMap, size: [usize; 2]) -> Map {
        let mut map = Map {
            tensor: 0,
            first: 0,
            images,
            size,
            channels: Arc::new(channels),
        };
        let to = map.corner(0);
        map.tensor = self.tensor(images * to.image);
        let op = Op::Border {
            to: map.corner(0),
            images,
            blocks: map.blocks(),
            height: size[0],
            width: size[1],
        };
        self.push("border", 0, op, &[]);
        map
    }

    pub(super) fn push(&mut self, name: &str, macs: usize, op: Op, uses: &[usize]) {
        let phase = self.phases.len() - 1;
        for &t in uses {
            self.tensors[t].last = phase;
        }
        let name = name.to_owned();
        self.phases[phase].push(Labelled {
            name,
            macs: macs as u64,
            op,
        });
    }

    /// What follows sees what all steps so far have written.
    pub(super) fn barrier(&mut self) {
        self.phases.push(Vec::new());
    }

    pub(super) fn sizes(
        &self,
        layer: &str,
        size: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: [(usize, usize); 2],
    ) -> Result<[usize; 2], NetworkError> {
        let [height, width] = self.image;
        let mut out = [0; 2];
        for axis in 0..2 {
            out[axis] = windows(size[axis], kernel, stride, padding[axis]).ok_or_else(|| {
                NetworkError::TooSmall {
                    layer: layer.to_owned(),
                    height,
                    width,
                }
            })?;
        }
        Ok(out)
    }

    pub(super) fn packed(
        &self,
        layer: (usize, usize),
        parts: &[Part<'_>],
        inputs: &ChannelMap,
        form: Form,
    ) -> Arc<Packed> {
        let oc = self.setting.kernels.oc;
        let threads = self.setting.threads;
        let key = (layer.0, layer.1, form);
        self.setting.filters.get(key, |shelf| {
            Packed::new(parts, inputs, form, oc, threads, shelf)
        })
    }

    /// 1×1 convolutions of one input, each to its own blocks.
    pub(super) fn pointwise(
        &mut self,
        name: &str,
        layer: (usize, usize),
        parts: &[Part<'_>],
        from: &Map,
        to: Vec<Place>,
    ) {
        let place = from.place(0);
        let filters = self.packed(layer, parts, &from.channels, Form::Direct);
        let [height, width] = from.size;
        let outputs: usize = parts.iter().map(|p| p.conv.out_channels).sum();
        let macs = from.images * height * width * outputs * parts[0].conv.in_channels;
        let group = images_together(&filters, place.image);
        let mut uses: Vec<usize> = to.iter().map(|p| p.tensor).collect();
        uses.push(from.tensor);
        let op = Op::Direct(Direct {
            from: place,
            row: place.row,
            step: Step::Block,
            offsets: (0..from.blocks()).map(|b| b * place.plane).collect(),
            depth: BLOCK,
            filters,
            to,
            images: from.images,
            height,
            width,
            group,
        });
        self.push(name, macs, op, &uses);
    }

    /// A 3×3 convolution to the blocks of `to` from `block` on.
    #[allow(clippy::too_many_arguments)] // what, how, from where, to where
    pub(super) fn conv3(
        &mut self,
        name: &str,
        layer: (usize, usize),
        conv: &Conv,
        stride: usize,
        from: &Map,
        to: &Map,
        block: usize,
    ) {
        let [height, width] = to.size;
        let parts = [Part { conv, finish: true }];
        let blocks = conv.out_channels.div_ceil(BLOCK);
        let targets: Vec<Place> = to.places(block, blocks).collect();
        let macs = from.images * height * width * conv.weight.len();
        let algorithm = match stride {
            1 => self.setting.algorithm.unwrap_or_else(|| Self::choose(from)),
            _ => Algorithm::Direct,
        };
        let place = from.place(0);
        let op = match algorithm {
            Algorithm::Direct => {
                let padding = self.network.conv_padding(stride, from.size);
                let mut offsets = Vec::new();
                for b in 0..from.blocks() {
                    for t in 0..9 {
                        offsets.push(b * place.plane + t / 3 * place.row + t % 3 * BLOCK);
                    }
                }
                let filters = self.packed(layer, &parts, &from.channels, Form::Direct);
                let group = images_together(&filters, place.image);
                Op::Direct(Direct {
                    from: Place {
                        at: place.at - padding[0].0 * place.row - padding[1].0 * BLOCK,
                        ..place
                    },
                    row: stride * place.row,
                    step: if stride == 1 {
                        Step::Block
                    } else {
                        Step::TwoBlocks
                    },
                    offsets,
                    depth: BLOCK,
                    filters,
                    to: targets,
                    images: from.images,
                    height,
                    width,
                    group,
                })
            }
            Algorithm::F2 | Algorithm::F4 => {
                let (scheme, form) = match algorithm {
                    Algorithm::F4 => (1, Form::Wino4),
                    _ => (0, Form::Wino2),
                };
                self.winograd(Winograd {
                    scheme,
                    from: from.corner(0),
                    readable: from.size.map(|s| s + 2),
                    blocks: from.blocks(),
                    depth: BLOCK,
                    filters: self.packed(layer, &parts, &from.channels, form),
                    to: targets,
                    images: from.images,
                    height,
                    width,
                    group: 0,
                    offsets: Vec::new(),
                    nothing: self.nothing.clone(),
                })
            }
        };
        self.push(
            &format!("{name} {algorithm:?}"),
            macs,
            op,
            &[from.tensor, to.tensor],
        );
    }

    /// Fills in group and offsets.
    pub(super) fn winograd(&mut self, mut op: Winograd) -> Op {
        op.group = group(&op, self.setting.kernels.pixels());
        op.offsets = (0..op.blocks).map(|b| b * op.group * BLOCK).collect();
        self.scratch = self.scratch.max(op.scratch(self.setting.kernels.oc));
        Op::Winograd(op)
    }

    /// The fewest multiplications among those for which every number of a transformed filter, 36 or 16 to read in place
    /// of 9, is used often enough.
    fn choose(from: &Map) -> Algorithm {
        let tiles = |m: usize| from.images * from.size[0].div_ceil(m) * from.size[1].div_ceil(m);
        match (tiles(4), tiles(2)) {
            (14.., _) => Algorithm::F4,
            (_, 8..) => Algorithm::F2,
            _ => Algorithm::Direct,
        }
    }

    pub(super) fn max_pool(
        &mut self,
        name: &str,
        stride: usize,
        padding: [(usize, usize); 2],
        from: &Map,
        to: &Map,
        block: usize,
    ) {
        let place = from.place(0);
        let op = Op::Pooling(Pooling {
            from: Place {
                at: place.at - padding[0].0 * place.row - padding[1].0 * BLOCK,
                ..place
            },
            to: to.place(block),
            stride,
            images: from.images,
            blocks: from.blocks(),
            height: to.size[0],
            width: to.size[1],
            average: None,
        });
        self.push(name, 0, op, &[from.tensor, to.tensor]);
    }

    pub(super) fn average_pool(
        &mut self,
        name: &str,
        conv: &Conv,
        from: &Map,
        to: &Map,
        block: usize,
    ) {
        let [height, width] = to.size;
        let include = self.network.average_includes_padding;
        // Pixels of the window around `i` that are inside.
        let inside = |i: usize, size: usize| {
            if include {
                3
            } else {
                (i + 2).min(size) - i.saturating_sub(1)
            }
        };
        let scale = (0..height * width)
            .map(|i| 1.0 / (inside(i / width, height) * inside(i % width, width)) as f32)
            .collect();
        let op = Op::Pooling(Pooling {
            from: from.corner(0),
            to: to.place(block),
            stride: 1,
            images: from.images,
            blocks: from.blocks(),
            height,
            width,
            average: Some(Average {
                finish: Arc::new(Packed::finish(conv)),
                scale,
            }),
        });
        self.push(name, 0, op, &[from.tensor, to.tensor]);
    }
}

/// Lines to give to a plane of `lines`, so that the same row of all planes, which a product tile reads together, does not
/// fall into the same few sets of a first-level cache of 64 sets. Planes of 14×14 with their border would.
fn spread(lines: usize) -> usize {
    let good = |n: &usize| n % 2 == 1 && (13..52).contains(&(n % 64));
    (lines..lines + 64).find(good).unwrap_or(lines)
}

/// [`Direct::group`] for images of `image` floats: whatever is read again and again, filters or pixels, should stay in the
/// second-level cache.
fn images_together(filters: &Packed, image: usize) -> usize {
    const FLOATS: usize = 1 << 17;
    match filters.tiles * filters.tile_len {
        n if n <= (FLOATS / 2).max(image / 2) => 0,
        _ => (FLOATS / image).max(1),
    }
}

/// Image tiles to work on at once: two product tiles full at most, so that filters are read from afar once for both, and
/// transformed inputs and products still stay in the second-level cache.
fn group(op: &Winograd, pixels: usize) -> usize {
    let [_, _, all] = op.tiles();
    all.div_ceil(all.div_ceil((2 * pixels).max(16)))
}
