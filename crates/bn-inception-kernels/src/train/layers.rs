//! The layers of a network, from first to last, as steps of a training plan.
//!
//! Kept from the forward for the backward pass are the outputs of the convolutions before normalisation, and the network's
//! input. Everything else is computed again where the backward pass needs it, which costs less than its memory.

use std::sync::Arc;

use crate::plan::error::NetworkError;
use crate::plan::images::Images;
use crate::plan::layout::{BLOCK, ChannelMap, FeatureMap, View, padded};
use crate::plan::output::Output;
use crate::plan::window::{self, output_size};

use super::build::{Builder, Filters, Target, Windows};
use super::call::GradientsOf;
use super::filters::{Channel, Taps};
use super::maps::{Copy, PoolKind, Source};
use super::network::{Conv, Layer, Network, Operation};
use super::normalization::{Normalization, Pass, constants_len, sums_len};
use super::step::Op;

/// A plan's steps.
pub(super) struct Built {
    pub(super) builder: Builder,
    /// Number of phases of the forward pass.
    pub(super) forward: usize,
    /// Dimensions of the output.
    pub(super) output: Vec<usize>,
    /// Dimensions of the gradient of the input, or with images of their convolution.
    pub(super) input_gradient: Option<[usize; 4]>,
}

/// The network's layers and maps while they become steps.
pub(super) struct Layers<'a> {
    pub(super) layers: &'a [Layer],
    pub(super) builder: Builder,
    pub(super) batch: usize,
    /// Height and width of each layer's output.
    pub(super) sizes: Vec<[usize; 2]>,
    /// Channels of each layer's output.
    pub(super) channels: Vec<Arc<ChannelMap>>,
    /// The layer to whose map each layer writes, itself or a concatenation, and its first channel block there.
    pub(super) targets: Vec<(usize, usize)>,
    /// Output of each layer, where it exists at the moment.
    pub(super) maps: Vec<Option<FeatureMap>>,
    /// Gradient of each layer's output.
    pub(super) gradients: Vec<Option<FeatureMap>>,
    /// True if something has been written to the gradient.
    pub(super) written: Vec<bool>,
    /// Normalisation of each convolution.
    pub(super) normalizations: Vec<Option<Normalization>>,
    /// View of the images, where they are the source.
    images: Option<(View, [usize; 2])>,
    /// Gradient of the output of each group's product.
    pub(super) products: Vec<Option<FeatureMap>>,
    input_gradient: Option<[usize; 4]>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        network: &'a Network,
        batch: usize,
        input: [usize; 2],
        builder: Builder,
    ) -> Result<Self, NetworkError> {
        let layers = &network.layers[..];
        let mut sizes: Vec<[usize; 2]> = Vec::with_capacity(layers.len());
        let mut channels: Vec<Arc<ChannelMap>> = Vec::with_capacity(layers.len());
        let mut targets: Vec<(usize, usize)> = (0..layers.len()).map(|i| (i, 0)).collect();
        for (i, layer) in layers.iter().enumerate() {
            let size = layer.inputs.first().map_or(input, |&from| sizes[from]);
            let size = output_size(&layer.name, size, layer.operation.window(), input)?;
            for &from in &layer.inputs {
                // Two sizes of one concatenation depend on the image's size, so `Network::validate` cannot compare them.
                layer.require("height of an input", sizes[layer.inputs[0]][0], sizes[from][0])?;
                layer.require("width of an input", sizes[layer.inputs[0]][1], sizes[from][1])?;
            }
            sizes.push(size);
            channels.push(match layer.operation {
                Operation::Images => Arc::new(padded(3)),
                Operation::Map { channels } => Arc::new(padded(channels)),
                Operation::Conv(conv) => Arc::new(padded(conv.out_channels)),
                Operation::Concat => {
                    let (mut all, mut logical) = (ChannelMap::new(), 0);
                    for &from in &layer.inputs {
                        targets[from] = (i, all.len() / BLOCK);
                        all.extend(channels[from].iter().map(|c| c.map(|c| logical + c)));
                        logical += channels[from].iter().flatten().count();
                    }
                    Arc::new(all)
                }
                _ => channels[layer.inputs[0]].clone(),
            });
        }
        let count = layers.len();
        Ok(Self {
            layers,
            builder,
            batch,
            sizes,
            channels,
            targets,
            maps: vec![None; count],
            gradients: vec![None; count],
            written: vec![false; count],
            normalizations: vec![None; count],
            images: None,
            products: vec![None; count],
            input_gradient: None,
        })
    }

    /// Number of values of a channel of each convolution's output.
    pub(super) fn counts(&self) -> Vec<usize> {
        let convs = (0..self.layers.len()).filter(|&i| self.conv(i).is_some());
        convs.map(|i| self.batch * self.sizes[i][0] * self.sizes[i][1]).collect()
    }

    pub(super) fn build(mut self, gradients: GradientsOf) -> Built {
        for i in 0..self.layers.len() {
            self.forward(i);
        }
        let last = self.layers.len() - 1;
        let [height, width] = self.sizes[last];
        let channels = self.channels[last].iter().flatten().count();
        let mut output = vec![self.batch, channels];
        if self.layers[last].operation != Operation::Mean {
            output.extend([height, width]);
            self.builder.barrier();
            let map = self.map(last);
            self.output("output", &map, false);
        }
        self.builder.barrier();
        let forward = self.builder.phases.len() - 1;
        if gradients != GradientsOf::Nothing {
            // The source stays; all other outputs are computed again.
            for map in &mut self.maps[1..] {
                *map = None;
            }
            self.output_gradient(last);
            for i in (1..self.layers.len()).rev() {
                self.backward(i, gradients);
            }
            if gradients == GradientsOf::ParametersAndInput && self.images.is_none() {
                let gradient = self.gradient(0);
                self.input_gradient(&gradient);
            }
        }
        if self.builder.phases.last().is_some_and(Vec::is_empty) {
            self.builder.phases.pop();
        }
        Built { builder: self.builder, forward, output, input_gradient: self.input_gradient }
    }

    pub(super) fn conv(&self, i: usize) -> Option<Conv> {
        match self.layers[i].operation {
            Operation::Conv(conv) => Some(conv),
            _ => None,
        }
    }

    /// Index of a convolution among the convolutions.
    pub(super) fn conv_index(&self, i: usize) -> usize {
        (0..i).filter(|&j| self.conv(j).is_some()).count()
    }

    /// The average pool that a convolution reads, and its inclusion of the padding.
    pub(super) fn average_before(&self, i: usize) -> Option<(usize, bool)> {
        let &input = self.layers[i].inputs.first()?;
        match self.layers[input].operation {
            Operation::AveragePool { includes_padding } => Some((input, includes_padding)),
            _ => None,
        }
    }

    /// The layer whose output a 1×1 convolution multiplies: that before an average pool, because pool and projection are
    /// exchanged. Both are linear, and the projection has fewer channels. `None` for other layers.
    pub(super) fn factor(&self, i: usize) -> Option<usize> {
        self.conv(i).filter(|conv| conv.kernel == 1)?;
        Some(match self.average_before(i) {
            Some((pool, _)) => self.layers[pool].inputs[0],
            None => self.layers[i].inputs[0],
        })
    }

    /// The 1×1 convolutions of the output of layer `x`, which are computed as one product.
    pub(super) fn group(&self, x: usize) -> Vec<usize> {
        (x + 1..self.layers.len()).filter(|&i| self.factor(i) == Some(x)).collect()
    }

    /// The existing map of a layer's output.
    pub(super) fn map(&self, i: usize) -> FeatureMap {
        let (map, _) = self.targets[i];
        self.maps[map].clone().expect("layers are built in order")
    }

    /// Map and first channel block to which a layer writes; the map is created if there is none yet.
    pub(super) fn target(&mut self, i: usize) -> (FeatureMap, usize) {
        let (map, block) = self.targets[i];
        if self.maps[map].is_none() {
            let (channels, size) = (self.channels[map].clone(), self.sizes[map]);
            // Only the windows of 3×3 convolutions reach into a border; pools end at the map's edge.
            let windows =
                |i: usize| self.layers[i].inputs.contains(&map) && self.conv(i).is_some_and(|c| c.kernel == 3);
            let new = match (map + 1..self.layers.len()).any(windows) {
                true => self.builder.map(self.batch, channels, size),
                false => self.builder.bare_map(self.batch, channels, size),
            };
            self.maps[map] = Some(new);
        }
        (self.map(i), block)
    }

    pub(super) fn copy(&mut self, name: &str, source: Source, map: &FeatureMap) {
        let (view, channels) = (map.view(0), map.channels.clone());
        let op = Op::Copy(Copy { view, channels, images: map.images, size: map.size, source });
        self.builder.push(name, 0, op, &[map.tensor]);
    }

    fn output(&mut self, name: &str, map: &FeatureMap, mean: bool) {
        self.builder.push(name, 0, Op::Output(Output::of(map, 0, mean)), &[map.tensor]);
    }

    /// Copies a gradient to the caller.
    pub(super) fn input_gradient(&mut self, gradient: &FeatureMap) {
        let [height, width] = gradient.size;
        self.input_gradient = Some([self.batch, gradient.channels.iter().flatten().count(), height, width]);
        self.output("input gradient", gradient, false);
    }

    fn forward(&mut self, i: usize) {
        let layer = &self.layers[i];
        match layer.operation {
            Operation::Images => self.images(),
            Operation::Map { .. } => {
                let (map, _) = self.target(i);
                self.builder.barrier();
                self.copy("input", Source::Input, &map);
                self.builder.barrier();
            }
            Operation::Conv(_) => match self.factor(i) {
                Some(x) => {
                    let group = self.group(x);
                    if group[0] == i {
                        self.product(x, &group);
                    }
                }
                None => self.forward_conv(i),
            },
            Operation::MaxPool { .. } => {
                self.target(i);
                self.builder.barrier();
                self.max_pool(i);
            }
            Operation::Mean => {
                self.builder.barrier();
                let x = self.map(layer.inputs[0]);
                self.output("mean", &x, true);
            }
            Operation::AveragePool { .. } | Operation::Concat => {}
        }
    }

    /// The images, with their border: plain for a convolution of stride 1; for one of stride 2 as four phases, of which
    /// it is a 4×4 convolution of stride 1.
    fn images(&mut self) {
        let readers = (1..self.layers.len()).filter(|&i| self.layers[i].inputs.contains(&0));
        let readers: Vec<(usize, Conv)> = readers.filter_map(|i| Some((i, self.conv(i)?))).collect();
        let Some(&(first, conv)) = readers.first() else { return };
        let (phases, taps) = if conv.kernel == 7 { (2, 4) } else { (1, 3) };
        let (size, out) = (self.sizes[0], self.sizes[first]);
        let before = size.map(|size| conv.padding.of(size).0);
        let mut extent = [0; 2];
        for axis in 0..2 {
            // Rows of the image are copied as a whole, even if no window reaches their end; Winograd's tiles reach
            // beyond the last window.
            let image = (before[axis] + size[axis]).div_ceil(phases);
            extent[axis] = image.max(out[axis].next_multiple_of(4) + taps - 1);
        }
        let row = BLOCK * extent[1];
        let tensor = self.builder.tensor(self.batch * extent[0] * row);
        let view = View { tensor, offset: 0, row, plane: 0, image: extent[0] * row };
        let op = Images { to: view, images: self.batch, first: 0, size, before, padded: extent, phases };
        self.builder.push("images", 0, Op::Images(op), &[]);
        self.images = Some((view, extent));
    }

    /// Windows of a convolution of layer `x`'s output, the filters' tap tables, and the position of each input channel
    /// in them.
    pub(super) fn windows(&self, conv: &Conv, x: usize) -> (Windows, Taps, Vec<Option<Channel>>) {
        let k = conv.kernel;
        let grid = |side: usize| (0..side * side).map(|t| [t / side, t % side]).collect::<Vec<_>>();
        let channel = |offset, table| Some(Channel { conv: None, offset, table });
        if let (0, Some((from, readable))) = (x, self.images) {
            let (side, depth) = if k == 7 { (4, 12) } else { (3, 3) };
            let read = Windows { from, blocks: 1, depth, stride: 1, taps: grid(side), readable };
            // Channel `lane` of the four phases is channel `lane % 3` of the pixels with phase `lane / 3`.
            let phases = if k == 7 { 4 } else { 1 };
            let tap = |phase: usize, [row, column]: [usize; 2]| {
                let (row, column) = if k == 7 { (2 * row + phase / 2, 2 * column + phase % 2) } else { (row, column) };
                (row < k && column < k).then_some(row * k + column)
            };
            let tables = (0..phases).map(|phase| read.taps.iter().map(|&at| tap(phase, at)).collect()).collect();
            let channels = (0..depth).map(|lane| channel(lane % 3 * k * k, lane / 3)).collect();
            return (read, tables, channels);
        }
        let map = self.maps[self.targets[x].0].as_ref().expect("inputs are built first");
        let view = map.view(0);
        let [top, left] = map.size.map(|size| conv.padding.of(size).0);
        let readable = map.size.map(|size| size + 2);
        let from = View { offset: view.offset - top * view.row - left * BLOCK, ..view };
        let read = Windows { from, blocks: map.blocks(), depth: BLOCK, stride: conv.stride, taps: grid(k), readable };
        let channels = map.channels.iter().map(|c| c.and_then(|c| channel(c * k * k, 0))).collect();
        (read, vec![(0..k * k).map(Some).collect()], channels)
    }

    /// The output channels of convolution `i` in its filters.
    pub(super) fn lanes(&self, i: usize, conv: &Conv) -> Vec<Option<Channel>> {
        let index = self.conv_index(i);
        let filter = conv.in_channels * conv.kernel * conv.kernel;
        let lane = |o: usize| Channel { conv: Some(index), offset: o * filter, table: 0 };
        padded(conv.out_channels).into_iter().map(|o| o.map(lane)).collect()
    }

    fn forward_conv(&mut self, i: usize) {
        let Some(conv) = self.conv(i) else { return };
        let x = self.layers[i].inputs[0];
        let (from, taps, channels) = self.windows(&conv, x);
        let filters = Filters { lanes: self.lanes(i, &conv), channels, taps };
        let z = self.builder.bare_map(self.batch, self.channels[i].clone(), self.sizes[i]);
        let target = whole(z.views(0, z.blocks()), &z, false);
        self.builder.convolve(&self.layers[i].name, filters, &from, target);
        self.builder.barrier();
        self.normalize(i, &z);
        self.activations(&[i]);
    }

    /// All 1×1 convolutions of the output of layer `x`.
    fn product(&mut self, x: usize, group: &[usize]) {
        let convs: Vec<Conv> = group.iter().filter_map(|&i| self.conv(i)).collect();
        let (from, taps, channels) = self.windows(&convs[0], x);
        let (mut lanes, mut to, mut products) = (Vec::new(), Vec::new(), Vec::new());
        for (&i, conv) in group.iter().zip(&convs) {
            lanes.extend(self.lanes(i, conv));
            let product = self.builder.bare_map(self.batch, self.channels[i].clone(), self.sizes[x]);
            to.extend(product.views(0, product.blocks()));
            products.push(product);
        }
        let target = whole(to, &products[0], false);
        let name = self.product_name(group);
        self.builder.convolve(&name, Filters { lanes, channels, taps }, &from, target);
        self.builder.barrier();
        let mut pooled = false;
        for (&i, product) in group.iter().zip(&mut products) {
            let Some((pool, includes_padding)) = self.average_before(i) else { continue };
            let z = self.builder.bare_map(self.batch, self.channels[i].clone(), self.sizes[i]);
            let kind = PoolKind::Average(reciprocals(self.sizes[i], includes_padding));
            let (x, y) = ((product.view(0), product.size), (z.view(0), z.size));
            self.builder.pool(&self.layers[pool].name, kind, (1, [1, 1]), [x, y, x], self.batch, z.blocks());
            *product = z;
            pooled = true;
        }
        if pooled {
            self.builder.barrier();
        }
        for (&i, z) in group.iter().zip(&products) {
            self.normalize(i, z);
        }
        self.activations(group);
    }

    pub(super) fn product_name(&self, group: &[usize]) -> String {
        let name = &self.layers[group[0]].name;
        match group {
            [_] => name.clone(),
            _ => format!("{}.1x1", name.split('.').next().unwrap_or_default()),
        }
    }

    /// Moments and constants of convolution `i`, whose output is `z`.
    fn normalize(&mut self, i: usize, z: &FeatureMap) {
        let Some(conv) = self.conv(i) else { return };
        let normalization = Normalization {
            conv: self.conv_index(i),
            channels: conv.out_channels,
            epsilon: conv.epsilon,
            activation: conv.activation,
            z: z.view(0),
            blocks: z.blocks(),
            images: z.images,
            size: z.size,
            sums: self.builder.tensor(sums_len(z.images, z.blocks())),
            constants: self.builder.tensor(constants_len(z.blocks())),
        };
        self.builder.normalize(&self.layers[i].name, &normalization, Pass::Moments);
        self.normalizations[i] = Some(normalization);
    }

    /// Constants and outputs of convolutions.
    fn activations(&mut self, group: &[usize]) {
        self.builder.barrier();
        for &i in group {
            self.target(i);
            if let Some(normalization) = &self.normalizations[i] {
                self.builder.normalize(&self.layers[i].name, normalization, Pass::Constants);
            }
        }
        self.builder.barrier();
        for &i in group {
            self.activate(i);
        }
    }

    /// The output of convolution `i` from that before normalisation.
    pub(super) fn activate(&mut self, i: usize) {
        let (map, block) = self.target(i);
        if let Some(normalization) = &self.normalizations[i] {
            self.builder.normalize(&self.layers[i].name, normalization, Pass::Activate { to: map.view(block) });
        }
    }

    /// The output of max pool `i`, whose input and target exist.
    pub(super) fn max_pool(&mut self, i: usize) {
        let Operation::MaxPool { stride, padding } = self.layers[i].operation else { return };
        let x = self.map(self.layers[i].inputs[0]);
        let (to, block) = self.target(i);
        let before = x.size.map(|size| padding.of(size).0);
        let (from, to) = ((x.view(0), x.size), (to.view(block), to.size));
        let name = &self.layers[i].name;
        self.builder.pool(name, PoolKind::Max, (stride, before), [from, to, from], self.batch, x.blocks());
    }
}

/// A target of whole planes of `map`'s size.
pub(super) fn whole(to: impl IntoIterator<Item = View>, map: &FeatureMap, accumulate: bool) -> Target {
    let to = to.into_iter().collect();
    Target { to, to_step: BLOCK, images: map.images, size: map.size, accumulate }
}

/// Reciprocals of the divisors of a 3×3/1 average pool.
pub(super) fn reciprocals(size: [usize; 2], includes_padding: bool) -> Arc<Vec<f32>> {
    Arc::new(window::reciprocals(size, includes_padding))
}
