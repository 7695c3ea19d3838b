//! The layers of the network, from first to last, as steps of a plan.

use super::build::{Algorithm, Builder};
use super::direct::DirectConv;
use super::fused::WinogradConv;
use super::kernel::PixelStride;
use super::layout::{BLOCK, ChannelMap, FeatureMap, View, padded};
use super::network::{Block, Conv, NetworkError, Placement, Pool, Stem};
use super::pack::{FilterLayout, Packed, Part};
use super::step::Op;

impl Builder<'_> {
    /// The first convolution, from interleaved images; `first` is the position of the map's images in the batch.
    pub(super) fn first_conv(
        &mut self,
        conv: &Conv,
        stride: usize,
        padding: [(usize, usize); 2],
        (first, images): (usize, usize),
    ) -> Result<FeatureMap, NetworkError> {
        let k = conv.kernel;
        let out = self.sizes("stem", self.image, k, stride, padding)?;
        let before = padding.map(|p| p.0);
        // A 7×7 of stride 2 is a 4×4 of stride 1 over the image's four phases, which a Winograd convolution computes
        // with a third of the multiplications. Twelve channels are few: the transforms pay off only with enough tiles.
        let phased = k == 7 && stride == 2 && images * out[0] * out[1] >= 14 * 9;
        let phased = phased && self.config.algorithm.is_none_or(|a| a == Algorithm::F4);
        let (phases, lanes) = if phased { (2, BLOCK) } else { (1, 3) };
        let mut extent = [0; 2];
        for axis in 0..2 {
            // Rows of the image are copied as a whole, even if no window reaches their end.
            let image = (before[axis] + self.image[axis]).div_ceil(phases);
            extent[axis] = image.max(if phased {
                out[axis].next_multiple_of(3) + 3
            } else {
                (out[axis] - 1) * stride + k
            });
        }
        let row = lanes * extent[1];
        let image = extent[0] * row;
        let tensor = self.tensor(images * image);
        let view = View {
            tensor,
            offset: 0,
            row,
            plane: 0,
            image,
        };
        let op = Op::Input {
            to: view,
            images,
            first,
            size: self.image,
            before,
            padded: extent,
            phases,
        };
        self.push("input", 0, op, &[tensor]);
        self.barrier();
        let to = self.map(images, padded(conv.out_channels), out);
        let targets: Vec<View> = to.views(0, to.blocks()).collect();
        let parts = [Part {
            conv,
            epilogue: true,
        }];
        let macs = images * out[0] * out[1] * conv.weight.len();
        let (layout, name) = if phased {
            (FilterLayout::Phases, "stem.conv1 F3")
        } else {
            (FilterLayout::Rgb, "stem.conv1 Direct")
        };
        let filters = self.packed((0, 0), &parts, &ChannelMap::new(), layout);
        let op = if phased {
            self.winograd(WinogradConv {
                scheme: 2,
                from: view,
                readable: extent,
                blocks: 1,
                depth: 12,
                filters,
                to: targets,
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
                pixel_stride: if stride == 1 {
                    PixelStride::Rgb
                } else {
                    PixelStride::TwoRgb
                },
                offsets: (0..k).map(|y| y * row).collect(),
                depth: 3 * k,
                filters,
                to: targets,
                images,
                height: out[0],
                width: out[1],
                group: 0,
            })
        };
        self.push(name, macs, op, &[tensor, to.tensor]);
        self.barrier();
        Ok(to)
    }

    fn stem(&mut self, range: (usize, usize)) -> Result<FeatureMap, NetworkError> {
        let network = self.network;
        let images = range.1;
        match &network.stem {
            Stem::Small(conv) => self.first_conv(conv, 1, [(1, 1); 2], range),
            Stem::ImageNet {
                conv1,
                padding,
                pool,
                reduce,
                conv2,
            } => {
                let padding_for = |rule: &Placement, size: [usize; 2]| size.map(|s| rule.of(s));
                let x = self.first_conv(conv1, 2, padding_for(padding, self.image), range)?;
                let size = self.sizes("stem.pool1", x.size, 3, 2, padding_for(pool, x.size))?;
                let pooled = self.map(images, x.channels.to_vec(), size);
                self.max_pool("stem.pool1", 2, padding_for(pool, x.size), &x, &pooled, 0);
                self.barrier();
                let reduced = self.map(images, padded(reduce.out_channels), size);
                let to = reduced.views(0, reduced.blocks()).collect();
                self.pointwise(
                    "stem.reduce",
                    (0, 1),
                    &[Part {
                        conv: reduce,
                        epilogue: true,
                    }],
                    &pooled,
                    to,
                );
                self.barrier();
                let x = self.map(images, padded(conv2.out_channels), size);
                self.conv3("stem.conv2", (0, 2), conv2, 1, &reduced, &x, 0);
                self.barrier();
                let size = self.sizes("stem.pool2", x.size, 3, 2, padding_for(pool, x.size))?;
                let pooled = self.map(images, x.channels.to_vec(), size);
                self.max_pool("stem.pool2", 2, padding_for(pool, x.size), &x, &pooled, 0);
                self.barrier();
                Ok(pooled)
            }
        }
    }

    /// Channels and size of the output of a block.
    fn output_shape(
        &self,
        block: &Block,
        x: &FeatureMap,
    ) -> Result<(ChannelMap, [usize; 2]), NetworkError> {
        let padding = self.network.conv_padding(block.stride, x.size);
        let size = self.sizes(&block.name, x.size, 3, block.stride, padding)?;
        let mut channels = ChannelMap::new();
        let mut logical = 0;
        let mut branch = |map: &ChannelMap, width: usize| {
            channels.extend(map.iter().map(|c| c.map(|c| logical + c)));
            logical += width;
        };
        let conv = |c: &Conv| (padded(c.out_channels), c.out_channels);
        let mut convs: Vec<&Conv> = block.conv_1x1.iter().collect();
        convs.push(&block.conv_3x3);
        convs.extend(block.conv_double.iter().map(|pair| &pair[1]));
        if let Pool::Max(c) | Pool::Average(c) = &block.pool {
            convs.push(c);
        }
        for c in convs {
            let (map, width) = conv(c);
            branch(&map, width);
        }
        if block.pool == Pool::MaxPassThrough {
            branch(&x.channels, x.channels.iter().flatten().count());
        }
        Ok((channels, size))
    }

    /// The steps of block number `index`, with their result in `out`.
    fn block(&mut self, index: usize, block: &Block, x: &FeatureMap, out: &FeatureMap) {
        let layer = |n| (index + 1, n);
        let name = |part: &str| format!("{}.{part}", block.name);
        let width = |conv: &Conv| conv.out_channels.div_ceil(BLOCK);
        let images = x.images;

        // All 1×1 convolutions of the block's input are one; an average pool follows its projection, where it has fewer
        // channels.
        let mut parts = Vec::new();
        let mut to = Vec::new();
        let mut at = 0;
        if let Some(conv) = &block.conv_1x1 {
            parts.push(Part {
                conv,
                epilogue: true,
            });
            to.extend(out.views(0, width(conv)));
            at += width(conv);
        }
        let mut reduced = [None, None];
        for (reduced, conv) in reduced
            .iter_mut()
            .zip([&block.reduce_3x3, &block.reduce_double])
        {
            if let Some(conv) = conv {
                let map = self.map(images, padded(conv.out_channels), x.size);
                parts.push(Part {
                    conv,
                    epilogue: true,
                });
                to.extend(map.views(0, map.blocks()));
                *reduced = Some(map);
            }
        }
        let mut projected = None;
        let mut pooled = None;
        match &block.pool {
            Pool::Average(conv) => {
                let map = self.map(images, padded(conv.out_channels), x.size);
                parts.push(Part {
                    conv,
                    epilogue: false,
                });
                to.extend(map.views(0, map.blocks()));
                projected = Some(map);
            }
            Pool::Max(_) => {
                let map = self.map(images, x.channels.to_vec(), out.size);
                let padding = self.network.pool_padding(block.stride, x.size);
                self.max_pool(&name("pool"), block.stride, padding, x, &map, 0);
                pooled = Some(map);
            }
            Pool::Absent | Pool::MaxPassThrough => {}
        }
        if !parts.is_empty() {
            self.pointwise(&name("1x1"), layer(0), &parts, x, to);
        }
        self.barrier();

        let [for_3x3, for_double] = reduced.map(|map| map.unwrap_or_else(|| x.clone()));
        self.conv3(
            &name("3x3"),
            layer(1),
            &block.conv_3x3,
            block.stride,
            &for_3x3,
            out,
            at,
        );
        at += width(&block.conv_3x3);
        let mut middle = None;
        if let Some([first, second]) = &block.conv_double {
            let map = self.map(images, padded(first.out_channels), x.size);
            self.conv3(&name("double_1"), layer(2), first, 1, &for_double, &map, 0);
            middle = Some((map, second, at));
            at += width(second);
        }
        match &block.pool {
            Pool::Absent => {}
            Pool::MaxPassThrough => {
                let padding = self.network.pool_padding(block.stride, x.size);
                self.max_pool(&name("pool"), block.stride, padding, x, out, at);
            }
            Pool::Average(conv) => {
                if let Some(map) = &projected {
                    self.average_pool(&name("pool"), conv, map, out, at);
                }
            }
            Pool::Max(conv) => {
                if let Some(map) = &pooled {
                    let to = out.views(at, width(conv)).collect();
                    self.pointwise(
                        &name("projection"),
                        layer(4),
                        &[Part {
                            conv,
                            epilogue: true,
                        }],
                        map,
                        to,
                    );
                }
            }
        }
        self.barrier();
        if let Some((map, second, at)) = middle {
            self.conv3(
                &name("double_2"),
                layer(3),
                second,
                block.stride,
                &map,
                out,
                at,
            );
            self.barrier();
        }
    }

    pub(super) fn network(&mut self, batch: usize) -> Result<(), NetworkError> {
        let network = self.network;
        // Early stages: few images at a time, so that their large maps stay in the cache. Late ones: many images, so
        // that each filter is reused.
        let early = network
            .blocks
            .iter()
            .position(|b| b.stride == 2)
            .map_or(0, |i| i + 1);
        let pixels = self.image[0] * self.image[1];
        let chunk = match early {
            0 => batch,
            _ => (224 * 224 / pixels.max(1)).clamp(1, batch),
        };
        let mut whole: Option<FeatureMap> = None;
        for first in (0..batch).step_by(chunk) {
            let images = chunk.min(batch - first);
            let mut x = self.stem((first, images))?;
            for (i, block) in network.blocks[..early].iter().enumerate() {
                let (channels, size) = self.output_shape(block, &x)?;
                let out = if i + 1 < early {
                    self.map(images, channels, size)
                } else {
                    let map = match whole.take() {
                        Some(map) => map,
                        None => self.map(batch, channels, size),
                    };
                    let part = map.images(first, images);
                    whole = Some(map);
                    part
                };
                self.block(i, block, &x, &out);
                x = out;
            }
            if early == 0 {
                whole = Some(x);
            }
        }
        let Some(mut x) = whole else { return Ok(()) };
        for (i, block) in network.blocks.iter().enumerate().skip(early) {
            let (channels, size) = self.output_shape(block, &x)?;
            let out = self.map(batch, channels, size);
            self.block(i, block, &x, &out);
            x = out;
        }
        self.classify(batch, &x);
        Ok(())
    }

    fn classify(&mut self, batch: usize, x: &FeatureMap) {
        // The images take the place of pixels in features and logits, so that the classifier is a 1×1 convolution.
        let flat = |tensor| View {
            tensor,
            offset: 0,
            row: 0,
            plane: batch * BLOCK,
            image: BLOCK,
        };
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
        let classes = self.network.classes();
        let blocks = classes.div_ceil(BLOCK);
        let logits = flat(self.tensor(batch * blocks * BLOCK));
        let filters = {
            let oc = self.config.kernels.oc;
            let key = (usize::MAX, 0, FilterLayout::Direct);
            let linear = &self.network.classifier;
            self.config.filters.get(key, |allocator| {
                Packed::linear(linear, &x.channels, oc, allocator)
            })
        };
        let op = Op::Direct(DirectConv {
            from: features,
            row: 0,
            pixel_stride: PixelStride::Block,
            offsets: (0..x.blocks()).map(|b| b * features.plane).collect(),
            depth: BLOCK,
            filters,
            to: (0..blocks)
                .map(|b| View {
                    offset: b * logits.plane,
                    ..logits
                })
                .collect(),
            images: 1,
            height: 1,
            width: batch,
            group: 1,
        });
        let macs = batch * self.network.classifier.weight.len();
        self.push("classifier", macs, op, &[features.tensor, logits.tensor]);
        self.barrier();
        let op = Op::Output {
            from: logits,
            images: batch,
            classes,
        };
        self.push("output", 0, op, &[logits.tensor]);
    }
}
