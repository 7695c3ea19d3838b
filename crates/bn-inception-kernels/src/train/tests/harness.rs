//! Test harness: runs the phases of a training plan in guarded memory filled with NaN, the shares of all steps of a
//! phase in any order.

use std::sync::Arc;

use super::{Case, GradientsOf, Random, Style};
use crate::guard::{Flush, Guarded};
use crate::guarded::{Arena, guarded_copy, guarded_filters};
use crate::plan::context::Context;
use crate::plan::memory::Lifetime;
use crate::simd::kernels::Kernels;
use crate::train::build::Builder;
use crate::train::call::{Buffers, ConvBuffers};
use crate::train::layers::{Built, Layers};
use crate::train::step::{Op, Step};

pub(super) struct Harness<'a> {
    case: &'a Case,
    kernels: &'static Kernels,
    flush: Flush,
    phases: Vec<Vec<Step>>,
    /// Number of phases of the forward pass.
    forward: usize,
    tensors: Vec<Lifetime>,
    offsets: Vec<usize>,
    arena: Guarded,
    scratch: Guarded,
    input_gradient: usize,
    /// Memory of the constants of all steps.
    _constants: Vec<Guarded>,
}

impl<'a> Harness<'a> {
    pub(super) fn new(
        case: &'a Case,
        kernels: &'static Kernels,
        (threads, arena, flush): (usize, Arena, Flush),
        gradients: GradientsOf,
    ) -> Self {
        let [batch, height, width] = case.size;
        let layers = Layers::new(&case.network, batch, [height, width], Builder::new(kernels, threads)).unwrap();
        let Built { builder, forward, input_gradient, .. } = layers.build(gradients);
        let Builder { mut phases, tensors, scratch, .. } = builder;
        let (offsets, arena) = arena.arrange(&tensors, flush);
        let mut constants = Vec::new();
        for step in phases.iter_mut().flatten() {
            match &mut step.op {
                Op::Direct(op) => op.filters = guarded_filters(&op.filters, flush, &mut constants),
                Op::Winograd(op) => {
                    op.filters = guarded_filters(&op.filters, flush, &mut constants);
                    let copies = op.neutral.each_ref().map(|values| guarded_copy(values, flush, &mut constants));
                    op.neutral = Arc::new(copies);
                }
                _ => {}
            }
        }
        Self {
            case,
            kernels,
            flush,
            phases,
            forward,
            tensors,
            offsets,
            arena,
            scratch: Guarded::new(&[scratch], flush),
            input_gradient: input_gradient.map_or(0, |dims| dims.iter().product()),
            _constants: constants,
        }
    }

    /// Runs the forward and the backward pass, and returns the bits of all results of the plan, in the order of
    /// [`Results::bits`](super::Results::bits): a plan for fewer gradients has the first ones. Parameters, inputs and results lie between guard pages.
    pub(super) fn run(&mut self, style: Style, random: &mut Random) -> Vec<u32> {
        let Self { case, flush, .. } = *self;
        let copy = |values: &[f32]| Guarded::copy(values, flush);
        let (mut input, mut output_gradient) = (copy(&case.input), copy(&case.output_gradient));
        let mut output = Guarded::new(&[case.output_gradient.len()], flush);
        let mut input_gradient = Guarded::new(&[self.input_gradient], flush);
        let mut memory: Vec<(Guarded, Guarded, Guarded)> = Vec::new();
        let mut convs: Vec<ConvBuffers> = Vec::new();
        for (parameters, conv) in case.parameters(style).iter().zip(case.network.convs()) {
            let of = |values: Option<&[f32]>| values.map_or(0, <[f32]>::len);
            let lengths = [parameters.weight.len(), of(parameters.scale), of(parameters.shift)];
            let mut given = Guarded::new(&lengths, flush);
            let mut start = |i: usize, values: &[f32]| {
                given.buffer(i).copy_from_slice(values);
                given.buffer(i).as_ptr()
            };
            let weight = start(0, parameters.weight);
            let scale = parameters.scale.map_or(std::ptr::null(), |values| start(1, values));
            let shift = parameters.shift.map_or(std::ptr::null(), |values| start(2, values));
            let channels = conv.out_channels;
            let mut statistics = Guarded::new(&[channels; 2], flush);
            let mut gradients = Guarded::new(&[conv.weight_len(), channels, channels], flush);
            convs.push(ConvBuffers {
                weight,
                weight_len: parameters.weight.len(),
                scale,
                shift,
                normalize: parameters.normalize,
                mean: statistics.buffer(0).as_mut_ptr(),
                variance: statistics.buffer(1).as_mut_ptr(),
                d_weight: gradients.buffer(0).as_mut_ptr(),
                d_scale: gradients.buffer(1).as_mut_ptr(),
                d_shift: gradients.buffer(2).as_mut_ptr(),
            });
            memory.push((given, statistics, gradients));
        }
        for phase in 0..self.phases.len() {
            let to = if phase < self.forward { &mut output } else { &mut input_gradient };
            let buffers = Buffers { convs: &convs, output_gradient: output_gradient.only().as_ptr() };
            let plain = (input.only().as_ptr(), to.only().as_mut_ptr());
            // SAFETY: input, output and buffers have the network's extents.
            unsafe { self.phase(phase, plain, &buffers, random) };
            self.poison_dead(phase);
        }
        let mut all: Vec<f32> = output.only().to_vec();
        for (_, statistics, _) in &mut memory {
            (0..2).for_each(|i| all.extend_from_slice(statistics.buffer(i)));
        }
        // A plan without a backward pass has written no gradients.
        let backward = self.forward < self.phases.len();
        for (_, _, gradients) in memory.iter_mut().filter(|_| backward) {
            (0..3).for_each(|i| all.extend_from_slice(gradients.buffer(i)));
        }
        all.extend_from_slice(input_gradient.only());
        assert_eq!(input.only(), case.input);
        super::bits(&all)
    }

    /// Runs all shares of the steps of a phase one after the other, in a random order and each with scratch memory
    /// filled with NaN: a result that depends on another step or share of the phase, or on stale data, is NaN.
    ///
    /// # Safety
    /// Input, output and `buffers` must have the extents of the network.
    unsafe fn phase(
        &mut self,
        phase: usize,
        (input, output): (*const f32, *mut f32),
        buffers: &Buffers<'_>,
        random: &mut Random,
    ) {
        let steps = &self.phases[phase];
        let mut order: Vec<(&Step, usize)> =
            steps.iter().flat_map(|step| (0..step.shares).map(move |share| (step, share))).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i + 1));
        }
        for (step, share) in order {
            self.scratch.only().fill(f32::NAN);
            let start = self.scratch.offset(0);
            let context = Context {
                kernels: self.kernels,
                threads: step.shares,
                thread: share,
                arena: self.arena.base(),
                offsets: &self.offsets,
                // SAFETY: inside the guarded memory.
                scratch: unsafe { self.scratch.base().add(start) },
                input,
                output,
            };
            // SAFETY: memory of the builder's extents, one share after the other; the caller guarantees the rest.
            unsafe { step.op.run(&context, buffers) };
        }
    }

    /// Fills the tensors that no phase after `phase` may read with NaN.
    fn poison_dead(&mut self, phase: usize) {
        for t in 0..self.tensors.len() {
            if self.tensors[t].last == phase {
                let (start, len) = (self.offsets[t], self.tensors[t].len);
                // SAFETY: a tensor lies inside the guarded memory, which is borrowed as a whole and was initialised.
                unsafe { std::slice::from_raw_parts_mut(self.arena.base().add(start), len) }.fill(f32::NAN);
            }
        }
    }
}
