//! Test harness: runs the steps of a builder one thread after the other, in guarded memory filled with NaN.

use std::sync::Arc;

use super::guard::{Flush, Guarded};
use crate::guarded::{Arena, guarded_copy, guarded_filters};
use crate::infer::build::Builder;
use crate::infer::step::{Op, Step};
use crate::plan::context::Context;
use crate::plan::memory::Lifetime;
use crate::simd::kernels::Kernels;

pub(super) struct Harness {
    kernels: &'static Kernels,
    threads: usize,
    pub(super) phases: Vec<Vec<Step>>,
    tensors: Vec<Lifetime>,
    offsets: Vec<usize>,
    arena: Guarded,
    scratch: Guarded,
    /// Memory of the filters of all phases.
    _filters: Vec<Guarded>,
}

impl Harness {
    pub(super) fn new(builder: Builder<'_>, threads: usize, arena: Arena, flush: Flush) -> Self {
        let kernels = builder.config.kernels;
        let Builder { mut phases, tensors, scratch, .. } = builder;
        let (offsets, arena) = arena.arrange(&tensors, flush);
        let mut filters = Vec::new();
        for step in phases.iter_mut().flatten() {
            match &mut step.op {
                Op::Direct(op) => op.filters = guarded_filters(&op.filters, flush, &mut filters),
                Op::Winograd(op) => {
                    op.filters = guarded_filters(&op.filters, flush, &mut filters);
                    let [zeros, floor] = &*op.neutral;
                    op.neutral =
                        Arc::new([guarded_copy(zeros, flush, &mut filters), guarded_copy(floor, flush, &mut filters)]);
                }
                Op::Pooling(op) => {
                    if let Some(average) = &mut op.average {
                        average.epilogue = guarded_filters(&average.epilogue, flush, &mut filters);
                    }
                }
                Op::Input(_) | Op::Mean { .. } | Op::Logits { .. } | Op::Output(_) | Op::Border(_) => {}
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

    /// Runs a phase, the last thread first and each with scratch memory filled with NaN: a result that depends on
    /// another thread's share of the phase, or on stale data of another step, is NaN.
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
                // SAFETY: memory of the builder's extents, one thread after the other; the caller guarantees the rest.
                unsafe { step.op.run(&context) };
            }
        }
    }

    /// Fills the tensors that no phase after `phase` may read with NaN.
    pub(super) fn poison_dead(&mut self, phase: usize) {
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
