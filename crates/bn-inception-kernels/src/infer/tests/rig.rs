//! Runs the steps of a builder one thread after the other, in guarded memory full of NaN.

use std::sync::Arc;

use super::guard::{Flush, Guarded};
use crate::infer::build::Builder;
use crate::infer::kernel::Kernels;
use crate::infer::memory::{Aligned, Lifetime, assign};
use crate::infer::pack::Packed;
use crate::infer::plan::Labelled;
use crate::infer::step::{Context, Op};

/// Where tensors lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arena {
    /// As in the engine, sharing memory where their lives allow it.
    Shared,
    /// Each between pages that cannot be touched.
    Apart,
}

pub(super) struct Rig {
    kernels: &'static Kernels,
    threads: usize,
    pub(super) phases: Vec<Vec<Labelled>>,
    tensors: Vec<Lifetime>,
    offsets: Vec<usize>,
    arena: Guarded,
    scratch: Guarded,
    /// Owns the memory of the phases' filters.
    _filters: Vec<Guarded>,
}

impl Rig {
    pub(super) fn new(builder: Builder<'_>, threads: usize, arena: Arena, flush: Flush) -> Self {
        let kernels = builder.setting.kernels;
        let Builder {
            mut phases,
            tensors,
            scratch,
            ..
        } = builder;
        let (offsets, arena) = match arena {
            Arena::Apart => {
                let lengths: Vec<usize> = tensors.iter().map(|t| t.len).collect();
                let all = Guarded::new(&lengths, flush);
                ((0..lengths.len()).map(|i| all.offset(i)).collect(), all)
            }
            Arena::Shared => {
                let (mut offsets, len) = assign(&tensors);
                let one = Guarded::new(&[len], flush);
                offsets.iter_mut().for_each(|o| *o += one.offset(0));
                (offsets, one)
            }
        };
        let mut filters = Vec::new();
        for step in phases.iter_mut().flatten() {
            match &mut step.op {
                Op::Direct(op) => op.filters = guarded(&op.filters, flush, &mut filters),
                Op::Winograd(op) => {
                    op.filters = guarded(&op.filters, flush, &mut filters);
                    let [zeros, floor] = &*op.nothing;
                    op.nothing = Arc::new([
                        moved(zeros, flush, &mut filters),
                        moved(floor, flush, &mut filters),
                    ]);
                }
                Op::Pooling(op) => {
                    if let Some(average) = &mut op.average {
                        average.finish = guarded(&average.finish, flush, &mut filters);
                    }
                }
                Op::Input { .. } | Op::Mean { .. } | Op::Output { .. } | Op::Border { .. } => {}
            }
        }
        Self {
            kernels,
            threads,
            phases,
            tensors,
            offsets,
            arena,
            scratch: Guarded::new(&vec![scratch; threads], flush),
            _filters: filters,
        }
    }

    /// Runs a phase, the last thread first and each with scratch memory full of NaN: a result that needs another thread's
    /// share of the phase, or the remains of another step, is NaN.
    ///
    /// # Safety
    /// `input` and `output` must have the extents of the builder's network if its steps use them.
    pub(super) unsafe fn phase(&mut self, phase: usize, input: *const f32, output: *mut f32) {
        for thread in (0..self.threads).rev() {
            for step in &self.phases[phase] {
                self.scratch.buffer(thread).fill(f32::NAN);
                let start = self.scratch.offset(thread);
                let context = Context {
                    kernels: self.kernels,
                    threads: self.threads,
                    thread,
                    arena: self.arena.base(),
                    offsets: &self.offsets,
                    // SAFETY: inside the guarded memory.
                    scratch: unsafe { self.scratch.base().add(start) },
                    input,
                    output,
                };
                // SAFETY: memory of the builder's extents, one thread after the other; the caller vouches for the rest.
                unsafe { step.op.run(&context) };
            }
        }
    }

    /// Fills with NaN what no phase after `phase` may read.
    pub(super) fn bury(&mut self, phase: usize) {
        for t in 0..self.tensors.len() {
            if self.tensors[t].last == phase {
                self.tensor(t).fill(f32::NAN);
            }
        }
    }

    pub(super) fn tensor(&mut self, t: usize) -> &mut [f32] {
        let (start, len) = (self.offsets[t], self.tensors[t].len);
        // SAFETY: a tensor lies inside the guarded memory, which is borrowed as a whole and was initialised.
        unsafe { std::slice::from_raw_parts_mut(self.arena.base().add(start), len) }
    }
}

/// A copy of `values` in guarded memory, which `memory` gets.
fn moved(values: &Aligned, flush: Flush, memory: &mut Vec<Guarded>) -> Aligned {
    // SAFETY: the length of what it points to, which nobody writes.
    let values = unsafe { std::slice::from_raw_parts(values.as_ptr(), values.len()) };
    let mut copy = Guarded::copy(values, flush);
    let start = copy.only().as_mut_ptr();
    memory.push(copy);
    // SAFETY: the guarded copy lives as long as the rig, and nothing else uses it.
    unsafe { Aligned::borrowed(start, values.len()) }
}

fn guarded(packed: &Packed, flush: Flush, memory: &mut Vec<Guarded>) -> Arc<Packed> {
    Arc::new(Packed {
        weights: moved(&packed.weights, flush, memory),
        bias: moved(&packed.bias, flush, memory),
        floor: moved(&packed.floor, flush, memory),
        tiles: packed.tiles,
        tile_len: packed.tile_len,
    })
}
