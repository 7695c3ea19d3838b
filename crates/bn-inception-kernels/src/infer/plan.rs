//! From a network and the extents of its input to a list of steps over one arena.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::build::Builder;
use super::direct::Direct;
use super::fused::Winograd;
use super::kernel::{BLOCK, Kernels};
use super::memory::{Lifetime, Shelf, assign};
use super::network::{Network, NetworkError};
use super::pack::{Form, Packed};
use super::step::Pooling;
use super::step::{Op, Place};

/// How a stride-1 3×3 convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Sums over the nine taps.
    Direct,
    /// Winograd's F(2×2, 3×3): 4/9 of the multiplications, the most accurate.
    F2,
    /// Winograd's F(4×4, 3×3): a quarter of the multiplications, twice the rounding error of direct sums.
    F4,
}

/// Layer (block and number within) and form of packed filters.
type Key = (usize, usize, Form);

/// Packed filters by layer, shared by the plans of an engine.
pub(super) struct Filters(Mutex<(HashMap<Key, Arc<Packed>>, Shelf)>);

impl Filters {
    pub(super) fn new() -> Self {
        Self(Mutex::new((HashMap::new(), Shelf::new())))
    }

    pub(super) fn get(&self, key: Key, make: impl FnOnce(&mut Shelf) -> Packed) -> Arc<Packed> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (map, shelf) = &mut *guard;
        let packed = map.entry(key).or_insert_with(|| Arc::new(make(shelf)));
        packed.clone()
    }

    pub(super) fn bytes(&self) -> usize {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.0.values().map(|packed| packed.bytes()).sum()
    }
}

/// What the builder needs to know besides the network.
pub(super) struct Setting<'a> {
    pub(super) kernels: &'static Kernels,
    /// Threads that pack filters.
    pub(super) threads: usize,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) filters: &'a Filters,
}

/// A step with what a report says of it.
pub(super) struct Labelled {
    pub(super) name: String,
    pub(super) macs: u64,
    pub(super) op: Op,
}

/// Steps of each phase, and the memory they work in.
pub(super) struct Plan {
    pub(super) phases: Vec<Vec<Labelled>>,
    /// Offset of each tensor in the arena.
    pub(super) offsets: Vec<usize>,
    /// Floats of the arena.
    pub(super) arena: usize,
    /// Floats of one thread's scratch memory.
    pub(super) scratch: usize,
    pub(super) input: usize,
    pub(super) output: usize,
}

/// The most images that pass the late stages together: enough to reuse filters, few enough for the cache.
pub(super) const MOST_IMAGES: usize = 16;

impl Plan {
    /// # Errors
    /// [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`]. The network must be valid.
    pub(super) fn new(
        network: &Network,
        [batch, height, width]: [usize; 3],
        setting: &Setting<'_>,
    ) -> Result<Self, NetworkError> {
        let too_large = || NetworkError::TooLarge {
            batch,
            height,
            width,
        };
        // Nothing in the network has a thousand times the image's floats, so no product below overflows.
        let input = [batch, 3, height, width]
            .iter()
            .try_fold(1usize, |n, &e| n.checked_mul(e))
            .filter(|&n| n < isize::MAX as usize >> 20)
            .ok_or_else(too_large)?;
        let mut builder = Builder::new(network, setting, [height, width]);
        builder.network(batch)?;
        let Builder {
            phases,
            tensors,
            scratch,
            ..
        } = builder;
        let (offsets, arena) = assign(&tensors);
        let plan = Self {
            phases,
            offsets,
            arena,
            scratch,
            input,
            output: batch * network.classes(),
        };
        plan.check(&tensors, setting.kernels.oc);
        Ok(plan)
    }

    /// Panics unless every step stays inside its tensors: the argument of all `unsafe` in the steps. A plan that fails
    /// here is a fault of the builder.
    fn check(&self, tensors: &[Lifetime], oc: usize) {
        let whole = |f: &Packed| {
            let outputs = f.tiles * oc;
            f.weights.len() >= f.tiles * f.tile_len
                && f.bias.len() >= outputs
                && f.floor.len() >= outputs
        };
        for Labelled { name, op, .. } in self.phases.iter().flatten() {
            let inside = |place: &Place, extra: usize| {
                assert!(
                    place.at + extra <= tensors[place.tensor].len,
                    "{name} leaves its tensor"
                );
            };
            match op {
                Op::Input {
                    to,
                    images,
                    first,
                    size,
                    before,
                    padded,
                    phases,
                } => {
                    assert!((first + images) * 3 * size[0] * size[1] <= self.input);
                    let lanes = to.row / padded[1];
                    assert!(to.row == lanes * padded[1] && lanes >= 3 * phases * phases);
                    assert!(padded[1] * phases >= before[1] + size[1]);
                    inside(to, (images - 1) * to.image + padded[0] * to.row);
                }
                Op::Direct(op) => {
                    let Direct {
                        from,
                        filters,
                        images,
                        height,
                        width,
                        ..
                    } = op;
                    let reach = op.offsets.iter().max().copied().unwrap_or(0) + op.depth;
                    let last = (width - 1) * op.step.floats() + reach;
                    inside(
                        from,
                        (images - 1) * from.image + (height - 1) * op.row + last,
                    );
                    for to in &op.to {
                        inside(
                            to,
                            (images - 1) * to.image + (height - 1) * to.row + width * BLOCK,
                        );
                    }
                    assert!(whole(filters) && filters.tile_len == op.offsets.len() * op.depth * oc);
                    assert!(op.to.len() * BLOCK <= filters.tiles * oc);
                }
                Op::Winograd(op) => {
                    let Winograd {
                        from,
                        filters,
                        images,
                        height,
                        width,
                        ..
                    } = op;
                    let [rows, columns] = op.readable;
                    let last = (op.blocks - 1) * from.plane + (rows - 1) * from.row;
                    inside(from, (images - 1) * from.image + last + columns * BLOCK);
                    assert!(rows >= *height && columns >= *width && op.depth <= BLOCK);
                    for to in &op.to {
                        inside(
                            to,
                            (images - 1) * to.image + (height - 1) * to.row + width * BLOCK,
                        );
                    }
                    assert!(op.nothing.iter().all(|n| n.len() >= oc) && whole(filters));
                    assert!(filters.tile_len == op.inputs().pow(2) * op.blocks * op.depth * oc);
                    assert!(op.to.len() * BLOCK <= filters.tiles * oc);
                    assert!(op.scratch(oc) <= self.scratch && op.group > 0);
                    assert!(
                        op.offsets
                            .iter()
                            .all(|o| o + op.group * BLOCK <= op.v_stride())
                    );
                }
                Op::Pooling(op) => {
                    let Pooling {
                        from,
                        to,
                        images,
                        blocks,
                        height,
                        width,
                        stride,
                        ..
                    } = op;
                    let last = (blocks - 1) * from.plane + ((height - 1) * stride + 2) * from.row;
                    let columns = (width - 1) * stride + 3;
                    inside(from, (images - 1) * from.image + last + columns * BLOCK);
                    let last = (blocks - 1) * to.plane + (height - 1) * to.row;
                    inside(to, (images - 1) * to.image + last + width * BLOCK);
                    if let Some(average) = &op.average {
                        assert!(average.scale.len() == height * width);
                        assert!(average.finish.bias.len() >= blocks * BLOCK);
                        assert!(average.finish.floor.len() >= blocks * BLOCK && *stride == 1);
                    }
                }
                Op::Mean {
                    from,
                    to,
                    images,
                    blocks,
                    height,
                    width,
                } => {
                    let last = (blocks - 1) * from.plane + (height - 1) * from.row;
                    inside(from, (images - 1) * from.image + last + width * BLOCK);
                    inside(
                        to,
                        (images - 1) * to.image + (blocks - 1) * to.plane + BLOCK,
                    );
                }
                Op::Output {
                    from,
                    images,
                    classes,
                } => {
                    let last = (classes - 1) / BLOCK * from.plane;
                    inside(from, (images - 1) * from.image + last + BLOCK);
                    assert!(images * classes == self.output);
                }
                Op::Border {
                    to,
                    images,
                    blocks,
                    height,
                    width,
                } => {
                    assert!(to.row == (width + 2) * BLOCK && *height > 0);
                    let last = (blocks - 1) * to.plane + (height + 2) * to.row;
                    inside(to, (images - 1) * to.image + last);
                }
            }
        }
    }
}
