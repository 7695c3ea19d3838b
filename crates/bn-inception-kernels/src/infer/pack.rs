//! Packed filters: in the order in which the inner loops read them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::network::{Conv, Linear};
use crate::conv::filters::Packed;
use crate::conv::transform::{self, F2, F3, F4, Scheme};
use crate::plan::layout::{BLOCK, padded};
use crate::plan::memory::{Aligned, BumpAllocator};
use crate::plan::team::lock;

/// Layout of the packed filters of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FilterLayout {
    /// `[tile][input block][tap][16][oc]`.
    Direct,
    /// `[tile][filter row][filter column][3][oc]`, for interleaved images.
    Rgb,
    /// `[tile][position][input channel][oc]`, transformed for F(2×2).
    F2,
    /// `[tile][position][input channel][oc]`, transformed for F(4×4).
    F4,
    /// `[tile][position][12][oc]`, a 7×7 of stride 2 as a 4×4 of stride 1 over the image's four phases, transformed for
    /// F(3×3, 4×4).
    Phases,
}

/// One convolution of a merged layer.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) conv: &'a Conv,
    /// Bias and ReLU in this step; otherwise in a later one.
    pub(crate) epilogue: bool,
}

impl Packed {
    pub(crate) fn new(
        parts: &[Part<'_>],
        inputs: &[Option<usize>],
        layout: FilterLayout,
        oc: usize,
        threads: usize,
        allocator: &mut BumpAllocator,
    ) -> Self {
        let mut outputs: Vec<Option<(&Part<'_>, usize)>> = Vec::new();
        for part in parts {
            let map = padded(part.conv.out_channels);
            outputs.extend(map.into_iter().map(|o| o.map(|o| (part, o))));
        }
        outputs.resize(outputs.len().next_multiple_of(oc), None);
        let tiles = outputs.len() / oc;
        let k = parts[0].conv.kernel;
        let tile_len = oc
            * match layout {
                FilterLayout::Direct => inputs.len() * k * k,
                FilterLayout::Rgb => 3 * k * k,
                FilterLayout::F2 => inputs.len() * 16,
                FilterLayout::F4 => inputs.len() * 36,
                FilterLayout::Phases => 12 * 36,
            };
        let mut weights = allocator.zeroed(tiles * tile_len);
        let mut bias = Aligned::zeroed(outputs.len());
        let mut floor = Aligned::zeroed(outputs.len());
        for (n, output) in outputs.iter().enumerate() {
            let Some((part, o)) = output else { continue };
            if part.epilogue {
                bias.as_mut_slice()[n] = part.conv.bias[*o];
            } else {
                floor.as_mut_slice()[n] = f32::NEG_INFINITY;
            }
        }
        // Separate threads instead of a pool: the caller holds a lock that another task of the pool may wait for.
        let threads = threads.min((tiles * tile_len) >> 18).clamp(1, tiles);
        let each = tiles.div_ceil(threads);
        std::thread::scope(|scope| {
            let shares = weights.as_mut_slice().chunks_mut(each * tile_len);
            for (n, (weights, outputs)) in shares.zip(outputs.chunks(each * oc)).enumerate() {
                let mut work = move || {
                    for (tile, outputs) in weights.chunks_mut(tile_len).zip(outputs.chunks(oc)) {
                        for (lane, output) in outputs.iter().enumerate() {
                            if let Some((part, o)) = output {
                                fill(&mut tile[lane..], oc, part.conv, *o, inputs, layout);
                            }
                        }
                    }
                };
                if n + 1 < threads {
                    drop(scope.spawn(work));
                } else {
                    work();
                }
            }
        });
        Self { weights, bias, floor, tiles, tile_len, tensor: None }
    }

    /// Bias and ReLU of `conv`, without its filters.
    pub(crate) fn epilogue(conv: &Conv) -> Self {
        let len = conv.out_channels.next_multiple_of(BLOCK);
        let mut bias = Aligned::zeroed(len);
        bias.as_mut_slice()[..conv.out_channels].copy_from_slice(&conv.bias);
        Self { weights: Aligned::zeroed(0), bias, floor: Aligned::zeroed(len), tiles: 0, tile_len: 0, tensor: None }
    }

    /// The classifier as a 1×1 convolution without ReLU.
    pub(crate) fn linear(linear: &Linear, inputs: &[Option<usize>], oc: usize, allocator: &mut BumpAllocator) -> Self {
        let classes = linear.bias.len();
        let features = linear.weight.len() / classes;
        let outputs = classes.next_multiple_of(BLOCK).next_multiple_of(oc);
        let tile_len = inputs.len() * oc;
        let mut weights = allocator.zeroed(outputs * inputs.len());
        let mut bias = Aligned::zeroed(outputs);
        let mut floor = Aligned::zeroed(outputs);
        floor.as_mut_slice().fill(f32::NEG_INFINITY);
        bias.as_mut_slice()[..classes].copy_from_slice(&linear.bias);
        let to = weights.as_mut_slice();
        for (o, row) in linear.weight.chunks(features).enumerate() {
            let tile = &mut to[o / oc * tile_len + o % oc..];
            for (c, i) in inputs.iter().enumerate() {
                if let Some(i) = i {
                    tile[c * oc] = row[*i];
                }
            }
        }
        Self { weights, bias, floor, tiles: outputs / oc, tile_len, tensor: None }
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.len() + self.floor.len())
    }
}

/// Position of the layer, or of the first of a merged one, number of layers merged, and layout of packed filters. The end
/// of a call may leave out the last of the merged layers.
type Key = (usize, usize, FilterLayout);

/// Packed filters by layer, shared by the plans of an engine.
pub(crate) struct FilterCache(Mutex<(HashMap<Key, Arc<Packed>>, BumpAllocator)>);

impl FilterCache {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((HashMap::new(), BumpAllocator::new())))
    }

    pub(crate) fn get(&self, key: Key, make: impl FnOnce(&mut BumpAllocator) -> Packed) -> Arc<Packed> {
        let mut guard = lock(&self.0);
        let (map, allocator) = &mut *guard;
        let packed = map.entry(key).or_insert_with(|| Arc::new(make(allocator)));
        packed.clone()
    }

    pub(crate) fn bytes(&self) -> usize {
        let map = lock(&self.0);
        map.0.values().map(|packed| packed.bytes()).sum()
    }
}

/// Writes output channel `o` of `conv` to every `oc`-th element of `to`.
fn fill(to: &mut [f32], oc: usize, conv: &Conv, o: usize, inputs: &[Option<usize>], layout: FilterLayout) {
    let taps = conv.kernel * conv.kernel;
    let filter = |i: usize| &conv.weight[(o * conv.in_channels + i) * taps..][..taps];
    match layout {
        FilterLayout::Direct => {
            for (c, i) in inputs.iter().enumerate() {
                let Some(i) = i else { continue };
                for (t, &w) in filter(*i).iter().enumerate() {
                    to[((c / BLOCK * taps + t) * BLOCK + c % BLOCK) * oc] = w;
                }
            }
        }
        FilterLayout::Rgb => {
            for i in 0..conv.in_channels {
                for (t, &w) in filter(i).iter().enumerate() {
                    to[(t * 3 + i) * oc] = w;
                }
            }
        }
        FilterLayout::F2 => transform::<F2, 2, 4>(to, oc, filter, inputs),
        FilterLayout::F4 => transform::<F4, 4, 6>(to, oc, filter, inputs),
        FilterLayout::Phases => {
            for lane in 0..12 {
                // From lane, row and column of the 4×4 to channel, row and column of the 7×7.
                let (p, q, channel) = (lane / 6, lane / 3 % 2, lane % 3);
                let at = |y: usize, x: usize| match (2 * y + p, 2 * x + q) {
                    (y @ 0..7, x @ 0..7) => f64::from(filter(channel)[y * 7 + x]),
                    _ => 0.0,
                };
                let g = std::array::from_fn(|y| std::array::from_fn(|x| at(y, x)));
                let u = transform::filter::<F3, 3, 6, 4>(g);
                for (n, u) in u.as_flattened().iter().enumerate() {
                    to[(n * 12 + lane) * oc] = *u as f32;
                }
            }
        }
    }
}

fn transform<'a, S: Scheme<M, A, 3>, const M: usize, const A: usize>(
    to: &mut [f32],
    oc: usize,
    filter: impl Fn(usize) -> &'a [f32],
    inputs: &[Option<usize>],
) {
    for (c, i) in inputs.iter().enumerate() {
        let Some(i) = i else { continue };
        let g = filter(*i);
        let u =
            transform::filter::<S, M, A, 3>(std::array::from_fn(|y| std::array::from_fn(|x| f64::from(g[3 * y + x]))));
        for (n, u) in u.as_flattened().iter().enumerate() {
            to[(n * inputs.len() + c) * oc] = *u as f32;
        }
    }
}
