//! The feature maps of a network while its layers become steps of a plan.

use std::ops::Range;

use super::build::Builder;
use super::network::{Layer, Operation};
use super::pack::Part;
use crate::plan::layout::{BLOCK, ChannelMap, FeatureMap, padded};

/// Levels and feature maps of the layers.
pub(crate) struct Maps<'a> {
    pub(crate) layers: &'a [Layer],
    batch: usize,
    /// One more than the highest level of a layer's inputs; that of a concatenation is theirs.
    pub(crate) levels: Vec<usize>,
    /// Height and width of each layer's output.
    sizes: Vec<[usize; 2]>,
    /// Channels of each layer's output, for an average pool after the projection.
    channels: Vec<ChannelMap>,
    /// The layer to whose map each layer writes, itself or a concatenation, and its first channel block there.
    targets: Vec<(usize, usize)>,
    /// Layers whose maps hold the whole batch; the others hold a chunk of it.
    whole: Vec<bool>,
    maps: Vec<Option<FeatureMap>>,
}

impl<'a> Maps<'a> {
    /// The first `early` layers run in chunks of images.
    pub(crate) fn new(layers: &'a [Layer], early: usize, batch: usize, sizes: Vec<[usize; 2]>) -> Self {
        let mut all = Self {
            layers,
            batch,
            levels: Vec::new(),
            sizes,
            channels: Vec::new(),
            targets: (0..layers.len()).map(|i| (i, 0)).collect(),
            whole: (0..layers.len()).map(|i| i >= early).collect(),
            maps: vec![None; layers.len()],
        };
        for (i, layer) in layers.iter().enumerate() {
            let level = layer.inputs.iter().map(|&input| all.levels[input]).max();
            let step = usize::from(layer.operation != Operation::Concat);
            all.levels.push(level.unwrap_or(0) + step);
            let channels = match &layer.operation {
                Operation::Conv(conv) => padded(conv.out_channels),
                Operation::MaxPool { .. } => all.channels[layer.inputs[0]].clone(),
                Operation::AveragePool { .. } => {
                    all.pointwise(i).map_or(ChannelMap::new(), |(_, part)| padded(part.conv.out_channels))
                }
                Operation::Concat => {
                    let (mut channels, mut logical) = (ChannelMap::new(), 0);
                    for &input in &layer.inputs {
                        all.targets[input] = (i, channels.len() / BLOCK);
                        let part = &all.channels[input];
                        channels.extend(part.iter().map(|c| c.map(|c| logical + c)));
                        logical += part.iter().flatten().count();
                    }
                    channels
                }
                Operation::Classifier(_) => ChannelMap::new(),
            };
            all.channels.push(channels);
            if i >= early {
                for &input in &layer.inputs {
                    all.whole[input] = true;
                }
            }
        }
        all
    }

    /// The 1×1 convolution that a layer computes from its input, and the name of its layer. An average pool and the
    /// projection that reads it are exchanged: the pool's place is that of the projection without bias and ReLU, which
    /// follow the pool in the projection's place.
    pub(crate) fn pointwise(&self, i: usize) -> Option<(&'a str, Part<'a>)> {
        let of = |layer: &'a Layer, epilogue| match &layer.operation {
            Operation::Conv(conv) if conv.kernel == 1 => Some((layer.name.as_str(), Part { conv, epilogue })),
            _ => None,
        };
        let layer = &self.layers[i];
        match layer.operation {
            Operation::AveragePool { .. } => {
                let mut readers = self.layers.iter().filter(|l| l.inputs.contains(&i));
                readers.next().and_then(|reader| of(reader, false))
            }
            _ => of(layer, true).filter(|_| self.average_before(layer).is_none()),
        }
    }

    /// Name of the average pool that a layer reads, and its inclusion of the padding.
    pub(crate) fn average_before(&self, layer: &Layer) -> Option<(&'a str, bool)> {
        let input = &self.layers[*layer.inputs.first()?];
        match input.operation {
            Operation::AveragePool { includes_padding } => Some((&input.name, includes_padding)),
            _ => None,
        }
    }

    /// Forgets the maps of the previous chunk of images, of a range of layers.
    pub(crate) fn next_chunk(&mut self, range: Range<usize>) {
        for i in range.filter(|&i| !self.whole[i]) {
            self.maps[i] = None;
        }
    }

    /// The images' part of the map of a layer, which is created if there is none yet.
    pub(crate) fn map(
        &mut self,
        builder: &mut Builder<'_>,
        layer: usize,
        (first, images): (usize, usize),
    ) -> FeatureMap {
        let whole = self.whole[layer];
        let map = self.maps[layer].get_or_insert_with(|| {
            let count = if whole { self.batch } else { images };
            builder.map(count, self.channels[layer].clone(), self.sizes[layer])
        });
        if whole { map.images(first, images) } else { map.clone() }
    }

    /// Map and first channel block to which a layer writes.
    pub(crate) fn target(
        &mut self,
        builder: &mut Builder<'_>,
        layer: usize,
        images: (usize, usize),
    ) -> (FeatureMap, usize) {
        let (map, block) = self.targets[layer];
        (self.map(builder, map, images), block)
    }
}
