//! The layers of the network, from first to last, as steps of a plan.
//!
//! The level of a layer is one more than the highest level of its inputs. All steps of one level are one phase: none
//! needs another's result. A concatenation has no steps, because its inputs write to its map.

use std::ops::Range;

use super::build::{Algorithm, Builder};
use super::maps::Maps;
use super::network::{Conv, Layer, Linear, Operation};
use super::pack::{FilterLayout, Part};
use super::prefix::Prefix;
use super::step::Op;
use crate::conv::direct::DirectConv;
use crate::conv::filters::Packed;
use crate::conv::winograd::WinogradConv;
use crate::plan::error::NetworkError;
use crate::plan::images::Images;
use crate::plan::layout::{BLOCK, ChannelMap, FeatureMap, View};
use crate::plan::output::Output;
use crate::simd::kernels::PixelStride;

impl Builder<'_> {
    /// The steps of the layers of a valid network up to the end of a call.
    ///
    /// # Errors
    /// [`NetworkError::TooSmall`] for images that are too small.
    pub(crate) fn network(&mut self, prefix: &Prefix<'_>, batch: usize) -> Result<(), NetworkError> {
        let layers = prefix.layers;
        let classifier = prefix.classes().is_some();
        // Early stages: few images at a time, so that their large maps stay in the cache. Late ones: many images, so
        // that each filter is reused.
        let strided = |input: &usize| matches!(layers[*input].operation.window(), Some((_, 2, _)));
        let ends_early = |layer: &Layer| layer.operation == Operation::Concat && layer.inputs.iter().any(strided);
        let early = layers.iter().position(ends_early).map_or(layers.len() - usize::from(classifier), |i| i + 1);
        let pixels = self.image[0] * self.image[1];
        let chunk = (224 * 224 / pixels.max(1)).clamp(1, batch);
        let mut maps = Maps::new(layers, early, batch, prefix.sizes(self.image)?);
        let chunks = (0..batch).step_by(chunk).map(|first| (0..early, (first, chunk.min(batch - first))));
        let late = (early < layers.len()).then_some((early..layers.len(), (0, batch)));
        for (range, images) in chunks.chain(late) {
            self.layers(&mut maps, range.clone(), images);
            if range.end == layers.len() && !classifier {
                self.barrier();
                let map = maps.map(self, layers.len() - 1, images);
                let op = Op::Output(Output::of(&map, images.0, prefix.mean));
                self.push("output", 0, op, &[map.tensor]);
            }
        }
        Ok(())
    }

    /// The steps of a range of layers for a range of the batch: position of the first image, and number of images.
    fn layers(&mut self, maps: &mut Maps<'_>, range: Range<usize>, images: (usize, usize)) {
        maps.next_chunk(range.clone());
        let levels = maps.levels[range.clone()].iter().max().map_or(0, |&l| l);
        for level in 1..=levels {
            self.barrier();
            for i in range.clone() {
                if maps.levels[i] == level {
                    self.layer(maps, i, &range, images);
                }
            }
        }
    }

    /// The steps of one layer, if it has its own.
    fn layer(&mut self, maps: &mut Maps<'_>, i: usize, range: &Range<usize>, images: (usize, usize)) {
        let layer = &maps.layers[i];
        let name = &layer.name;
        let input = match layer.operation {
            Operation::Concat => return,
            _ => layer.inputs.first(),
        };
        let from = input.map(|&input| maps.map(self, input, images));
        match (&layer.operation, from) {
            (Operation::Conv(conv), None) => {
                let (to, block) = maps.target(self, i, images);
                self.first_conv(name, conv, images.0, &to, block);
            }
            (Operation::Conv(conv), Some(from)) if conv.kernel == 3 => {
                let (to, block) = maps.target(self, i, images);
                self.conv3(name, i, conv, &from, &to, block);
            }
            (Operation::Conv(conv), Some(from)) => match maps.average_before(layer) {
                Some((pool, includes_padding)) => {
                    let (to, block) = maps.target(self, i, images);
                    self.average_pool(pool, includes_padding, conv, &from, &to, block);
                }
                None => self.product(maps, i, range, images, &from),
            },
            (Operation::AveragePool { .. }, Some(from)) => {
                self.product(maps, i, range, images, &from);
            }
            (&Operation::MaxPool { stride, padding }, Some(from)) => {
                let (to, block) = maps.target(self, i, images);
                self.max_pool(name, stride, padding, &from, &to, block);
            }
            (Operation::Classifier(linear), Some(from)) => self.classify(name, i, linear, &from),
            // No valid network has others.
            _ => {}
        }
    }

    /// All 1×1 convolutions of `from` as one product, if layer `i` is the first of them.
    fn product(
        &mut self,
        maps: &mut Maps<'_>,
        i: usize,
        range: &Range<usize>,
        images: (usize, usize),
        from: &FeatureMap,
    ) {
        let layer = &maps.layers[i];
        let (mut names, mut parts, mut to) = (Vec::new(), Vec::new(), Vec::new());
        for j in range.clone() {
            let Some((name, part)) = maps.pointwise(j) else {
                continue;
            };
            if maps.layers[j].inputs != layer.inputs {
                continue;
            }
            if j < i {
                return;
            }
            let (map, block) = maps.target(self, j, images);
            to.extend(map.views(block, part.conv.out_channels.div_ceil(BLOCK)));
            names.push(name);
            parts.push(part);
        }
        let name = match names[..] {
            [name] => name.to_owned(),
            _ => format!("{}.1x1", layer.name.split('.').next().unwrap_or_default()),
        };
        self.pointwise(&name, i, &parts, from, to);
    }

    /// The first convolution, from interleaved images, to the channel blocks of `to` from `block` on; `first` is the
    /// position of its images in the batch.
    pub(crate) fn first_conv(&mut self, name: &str, conv: &Conv, first: usize, to: &FeatureMap, block: usize) {
        let (k, stride) = (conv.kernel, conv.stride);
        let (images, out) = (to.images, to.size);
        let before = self.image.map(|size| conv.padding.of(size).0);
        // A 7×7 of stride 2 is a 4×4 of stride 1 over the image's four phases, which a Winograd convolution computes
        // with a third of the multiplications. Twelve channels are few: the transforms pay off only with enough tiles.
        let phased = k == 7 && stride == 2 && images * out[0] * out[1] >= 14 * 9;
        let phased = phased && self.config.algorithm.is_none_or(|a| a == Algorithm::F4);
        let (phases, lanes) = if phased { (2, BLOCK) } else { (1, 3) };
        let mut extent = [0; 2];
        for axis in 0..2 {
            // Rows of the image are copied as a whole, even if no window reaches their end.
            let image = (before[axis] + self.image[axis]).div_ceil(phases);
            extent[axis] =
                image.max(if phased { out[axis].next_multiple_of(3) + 3 } else { (out[axis] - 1) * stride + k });
        }
        let row = lanes * extent[1];
        let image = extent[0] * row;
        let tensor = self.tensor(images * image);
        let view = View { tensor, offset: 0, row, plane: 0, image };
        let op = Op::Input(Images { to: view, images, first, size: self.image, before, padded: extent, phases });
        self.push("input", 0, op, &[tensor]);
        self.barrier();
        let targets: Vec<View> = to.views(block, conv.out_channels.div_ceil(BLOCK)).collect();
        let parts = [Part { conv, epilogue: true }];
        let macs = images * out[0] * out[1] * conv.weight.len();
        let (layout, algorithm) = if phased { (FilterLayout::Phases, "F3") } else { (FilterLayout::Rgb, "Direct") };
        let filters = self.packed(0, &parts, &ChannelMap::new(), layout);
        let op = if phased {
            self.winograd(WinogradConv {
                scheme: 2,
                from: view,
                readable: extent,
                blocks: 1,
                depth: 12,
                filters,
                to: targets,
                accumulate: false,
                images,
                height: out[0],
                width: out[1],
                group: 0,
                offsets: Vec::new(),
                neutral: self.neutral.clone(),
            })
        } else {
            Op::Direct(DirectConv {
                from: view,
                row: stride * row,
                pixel_stride: if stride == 1 { PixelStride::Rgb } else { PixelStride::TwoRgb },
                offsets: (0..k).map(|y| y * row).collect(),
                depth: 3 * k,
                filters,
                to: targets,
                to_step: BLOCK,
                accumulate: false,
                images,
                height: out[0],
                width: out[1],
                group: 0,
            })
        };
        let name = format!("{name} {algorithm}");
        self.push(&name, macs, op, &[tensor, to.tensor]);
    }

    /// The classifier, layer number `layer`, and the copy of the logits to the output.
    fn classify(&mut self, name: &str, layer: usize, linear: &Linear, x: &FeatureMap) {
        let batch = x.images;
        // The images take the place of pixels in features and logits, so that the classifier is a 1×1 convolution.
        let flat = |tensor| View { tensor, offset: 0, row: 0, plane: batch * BLOCK, image: BLOCK };
        let features = flat(self.tensor(batch * x.channels.len()));
        let op = Op::Mean {
            from: x.view(0),
            to: features,
            images: batch,
            blocks: x.blocks(),
            height: x.size[0],
            width: x.size[1],
        };
        self.push("mean", 0, op, &[x.tensor, features.tensor]);
        self.barrier();
        let classes = linear.bias.len();
        let blocks = classes.div_ceil(BLOCK);
        let logits = flat(self.tensor(batch * blocks * BLOCK));
        let filters = {
            let oc = self.config.kernels.oc;
            let key = (layer, 1, FilterLayout::Direct);
            self.config.filters.get(key, |allocator| Packed::linear(linear, &x.channels, oc, allocator))
        };
        let op = Op::Direct(DirectConv {
            from: features,
            row: 0,
            pixel_stride: PixelStride::Block,
            offsets: (0..x.blocks()).map(|b| b * features.plane).collect(),
            depth: BLOCK,
            filters,
            to: (0..blocks).map(|b| View { offset: b * logits.plane, ..logits }).collect(),
            to_step: BLOCK,
            accumulate: false,
            images: 1,
            height: 1,
            width: batch,
            group: 1,
        });
        let macs = batch * linear.weight.len();
        self.push(name, macs, op, &[features.tensor, logits.tensor]);
        self.barrier();
        let op = Op::Logits { from: logits, images: batch, classes };
        self.push("output", 0, op, &[logits.tensor]);
    }
}
