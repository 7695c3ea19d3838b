//! The backward pass of the layers, from last to first, as steps of a training plan.

use std::sync::Arc;

use crate::plan::layout::{BLOCK, FeatureMap, View};

use super::build::{Filters, Target, Windows};
use super::call::GradientsOf;
use super::filters::Channel;
use super::layers::{Layers, reciprocals, whole};
use super::maps::{PoolKind, Source};
use super::network::{Conv, Operation};
use super::normalization::{Pass, sums_len};

impl Layers<'_> {
    /// The gradient of the last layer's output.
    pub(super) fn output_gradient(&mut self, last: usize) {
        let (layer, source) = match self.layers[last].operation {
            Operation::Mean => (self.layers[last].inputs[0], Source::MeanGradient),
            _ => (last, Source::OutputGradient),
        };
        let gradient = self.gradient(layer);
        self.copy("output gradient", source, &gradient);
        self.written[self.targets[layer].0] = true;
        self.builder.barrier();
    }

    /// The gradient of the map to which layer `i` writes, created if there is none yet.
    pub(super) fn gradient(&mut self, i: usize) -> FeatureMap {
        let (map, _) = self.targets[i];
        if let Some(gradient) = &self.gradients[map] {
            return gradient.clone();
        }
        let gradient = self.builder.bare_map(self.batch, self.channels[map].clone(), self.sizes[map]);
        self.gradients[map].insert(gradient).clone()
    }

    /// The gradient of layer `x`'s output, and true if a step before has written to it. The next step writes to it.
    fn gradient_target(&mut self, x: usize) -> (FeatureMap, bool) {
        let gradient = self.gradient(x);
        let written = std::mem::replace(&mut self.written[self.targets[x].0], true);
        (gradient, written)
    }

    /// True if the gradient of layer `x`'s output is used.
    fn needs_gradient(&self, x: usize, gradients: GradientsOf) -> bool {
        match self.layers[x].operation {
            Operation::Images => false,
            Operation::Map { .. } => gradients == GradientsOf::ParametersAndInput,
            _ => true,
        }
    }

    /// The steps of layer `i`, after those of all that read it.
    pub(super) fn backward(&mut self, i: usize, gradients: GradientsOf) {
        match self.layers[i].operation {
            Operation::Conv(conv) => {
                let dz = self.normalization_gradient(i);
                match self.factor(i) {
                    None => self.conv_backward(i, &conv, &dz, gradients),
                    Some(x) => {
                        let group = self.group(x);
                        if group[0] == i {
                            self.product_backward(x, &group, &dz, gradients);
                        }
                    }
                }
            }
            Operation::MaxPool { .. } => self.max_pool_backward(i, gradients),
            _ => {}
        }
    }

    /// Computes the output of layer `x` again, unless it exists.
    fn recompute(&mut self, x: usize) {
        if self.maps[self.targets[x].0].is_some() || self.layers[x].operation == Operation::Images {
            return;
        }
        let parts = match self.layers[x].operation {
            Operation::Concat => self.layers[x].inputs.clone(),
            _ => vec![x],
        };
        for &part in &parts {
            if let Operation::MaxPool { .. } = self.layers[part].operation {
                self.recompute(self.layers[part].inputs[0]);
            }
        }
        self.target(x);
        self.builder.barrier();
        for part in parts {
            match self.layers[part].operation {
                Operation::MaxPool { .. } => self.max_pool(part),
                _ => self.activate(part),
            }
        }
        self.builder.barrier();
    }

    fn max_pool_backward(&mut self, i: usize, gradients: GradientsOf) {
        let Operation::MaxPool { stride, padding } = self.layers[i].operation else { return };
        let x = self.layers[i].inputs[0];
        if !self.needs_gradient(x, gradients) {
            return;
        }
        self.recompute(x);
        let from = self.map(x);
        let (_, block) = self.targets[i];
        let gradient = self.gradient(i);
        let (to, accumulate) = self.gradient_target(x);
        let before = from.size.map(|size| padding.of(size).0);
        let views = [(from.view(0), from.size), (gradient.view(block), gradient.size), (to.view(0), to.size)];
        let kind = PoolKind::MaxBackward { accumulate };
        let name = format!("{} gradient", self.layers[i].name);
        self.builder.pool(&name, kind, (stride, before), views, self.batch, from.blocks());
        self.builder.barrier();
    }

    /// The gradient of convolution `i`'s output before normalisation: a map of its own, or a part of that of its product.
    fn normalization_gradient(&mut self, i: usize) -> FeatureMap {
        let Some(mut normalization) = self.normalizations[i].clone() else {
            unreachable!("every convolution was built in the forward pass");
        };
        normalization.sums = self.builder.tensor(sums_len(self.batch, normalization.blocks));
        let name = format!("{} gradient", self.layers[i].name);
        let (_, block) = self.targets[i];
        let from = self.gradient(i).view(block);
        self.builder.normalize(&name, &normalization, Pass::GradientSums { from });
        self.builder.barrier();
        self.builder.normalize(&name, &normalization, Pass::GradientConstants);
        let (dz, first) = match self.factor(i) {
            Some(x) => self.product_gradient(x, i),
            None => (self.builder.map(self.batch, self.channels[i].clone(), self.sizes[i]), 0),
        };
        let Some((pool, includes_padding)) = self.average_before(i) else {
            self.builder.barrier();
            self.builder.normalize(&name, &normalization, Pass::Gradient { from, to: dz.view(first) });
            return dz;
        };
        let pooled = self.builder.bare_map(self.batch, self.channels[i].clone(), self.sizes[i]);
        self.builder.barrier();
        self.builder.normalize(&name, &normalization, Pass::Gradient { from, to: pooled.view(0) });
        self.builder.barrier();
        let kind = PoolKind::AverageBackward(reciprocals(self.sizes[i], includes_padding));
        let (x, y) = ((dz.view(first), dz.size), (pooled.view(0), pooled.size));
        let name = format!("{} gradient", self.layers[pool].name);
        self.builder.pool(&name, kind, (1, [1, 1]), [x, y, x], self.batch, pooled.blocks());
        dz
    }

    /// The gradient of the product of layer `x`'s output, and the first channel block of convolution `i` in it.
    fn product_gradient(&mut self, x: usize, i: usize) -> (FeatureMap, usize) {
        let group = self.group(x);
        let blocks = |i: usize| self.channels[i].len() / BLOCK;
        let first = group.iter().take_while(|&&j| j < i).map(|&j| blocks(j)).sum();
        if let Some(gradient) = &self.products[x] {
            return (gradient.clone(), first);
        }
        let all = group.iter().flat_map(|&j| self.channels[j].iter().copied()).collect();
        let gradient = self.builder.bare_map(self.batch, Arc::new(all), self.sizes[x]);
        (self.products[x].insert(gradient).clone(), first)
    }

    /// Gradients of the filters and of the input of a product, once `dz` is complete.
    fn product_backward(&mut self, x: usize, group: &[usize], dz: &FeatureMap, gradients: GradientsOf) {
        let convs: Vec<Conv> = group.iter().filter_map(|&i| self.conv(i)).collect();
        let lanes: Vec<_> = group.iter().zip(&convs).flat_map(|(&i, conv)| self.lanes(i, conv)).collect();
        let name = self.product_name(group);
        self.recompute(x);
        self.builder.barrier();
        let (from, taps, channels) = self.windows(&convs[0], x);
        let filters = Filters { lanes: lanes.clone(), channels, taps };
        self.builder.weight_gradient(&name, filters, &from, dz.view(0), self.batch, dz.size);
        if self.needs_gradient(x, gradients) {
            let (to, accumulate) = self.gradient_target(x);
            let read = Windows {
                from: dz.view(0),
                blocks: dz.blocks(),
                depth: BLOCK,
                stride: 1,
                taps: vec![[0, 0]],
                readable: dz.size,
            };
            let filters = Filters { lanes: self.inputs(x, 1), channels: lanes, taps: vec![vec![Some(0)]] };
            let target = whole(to.views(0, to.blocks()), &to, accumulate);
            self.builder.convolve(&format!("{name} input gradient"), filters, &read, target);
        }
        self.builder.barrier();
    }

    /// The channels of layer `x`'s map as output channels of an input gradient, in filters of `taps` elements.
    fn inputs(&self, x: usize, taps: usize) -> Vec<Option<Channel>> {
        let channel = |c: usize| Channel { conv: None, offset: c * taps, table: 0 };
        self.channels[self.targets[x].0].iter().map(|c| c.map(channel)).collect()
    }

    /// Gradients of the filters and of the input of a convolution that is no product.
    fn conv_backward(&mut self, i: usize, conv: &Conv, dz: &FeatureMap, gradients: GradientsOf) {
        let x = self.layers[i].inputs[0];
        if gradients == GradientsOf::ParametersAndInput && self.layers[x].operation == Operation::Images {
            self.builder.barrier();
            self.input_gradient(dz);
        }
        let name = self.layers[i].name.clone();
        let lanes = self.lanes(i, conv);
        self.recompute(x);
        self.builder.barrier();
        let (from, taps, channels) = self.windows(conv, x);
        let filters = Filters { lanes: lanes.clone(), channels, taps };
        self.builder.weight_gradient(&name, filters, &from, dz.view(0), self.batch, dz.size);
        if self.needs_gradient(x, gradients) {
            let (to, accumulate) = self.gradient_target(x);
            let name = format!("{name} input gradient");
            match conv.stride {
                1 => {
                    let grid: Vec<[usize; 2]> = (0..9).map(|t| [t / 3, t % 3]).collect();
                    let rotated = (0..9).rev().map(Some).collect();
                    let filters = Filters { lanes: self.inputs(x, 9), channels: lanes, taps: vec![rotated] };
                    let target = whole(to.views(0, to.blocks()), &to, accumulate);
                    self.builder.convolve(&name, filters, &around(dz, grid), target);
                }
                _ => self.strided_input_gradient(&name, x, conv, lanes, dz, (&to, accumulate)),
            }
        }
        self.builder.barrier();
    }

    /// The input gradient of a 3×3 convolution of stride 2: the pixels with even and odd row and column are four
    /// convolutions of stride 1, with the taps that meet them.
    fn strided_input_gradient(
        &mut self,
        name: &str,
        x: usize,
        conv: &Conv,
        lanes: Vec<Option<Channel>>,
        dz: &FeatureMap,
        (to, accumulate): (&FeatureMap, bool),
    ) {
        let before = to.size.map(|size| conv.padding.of(size).0);
        // Taps along an axis that meet the pixels of a parity, with the distance of the window, plus one.
        let meets = |axis: usize, parity: usize| {
            let position = parity + before[axis];
            let taps = (0..3).filter(move |tap| (position + tap).is_multiple_of(2));
            taps.map(move |tap| (tap, (position + 2 - tap) / 2)).collect::<Vec<_>>()
        };
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let size = [(to.size[0] + 1 - row) / 2, (to.size[1] + 1 - column) / 2];
            if size.contains(&0) {
                continue;
            }
            let (mut grid, mut taps) = (Vec::new(), Vec::new());
            for (y, dy) in meets(0, row) {
                for (x, dx) in meets(1, column) {
                    grid.push([dy, dx]);
                    taps.push(Some(3 * y + x));
                }
            }
            let filters = Filters { lanes: self.inputs(x, 9), channels: lanes.clone(), taps: vec![taps] };
            let view =
                |view: View| View { offset: view.offset + row * view.row + column * BLOCK, row: 2 * view.row, ..view };
            let target = Target {
                to: to.views(0, to.blocks()).map(view).collect(),
                to_step: 2 * BLOCK,
                images: to.images,
                size,
                accumulate,
            };
            self.builder.convolve(name, filters, &around(dz, grid), target);
        }
    }
}

/// Windows of stride 1 over a map with its border.
fn around(map: &FeatureMap, taps: Vec<[usize; 2]>) -> Windows {
    let readable = map.size.map(|size| size + 2);
    Windows { from: map.view_with_border(0), blocks: map.blocks(), depth: BLOCK, stride: 1, taps, readable }
}
