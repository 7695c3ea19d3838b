//! The training plan for a network and the extents of its input: forward and backward phases over one arena.

use crate::plan::error::NetworkError;
use crate::plan::memory::{Lifetime, assign};
use crate::simd::kernels::Kernels;

use super::build::Builder;
use super::call::GradientsOf;
use super::layers::Layers;
use super::maps::Source;
use super::network::Network;
use super::step::{Op, Step};

/// The steps of each phase and the extents of their memory.
pub(super) struct Plan {
    pub(super) phases: Vec<Vec<Step>>,
    /// Number of phases of the forward pass, which come first.
    pub(super) forward: usize,
    /// Offset of each tensor in the arena.
    pub(super) offsets: Vec<usize>,
    /// Number of floats of the arena.
    pub(super) arena: usize,
    /// Number of floats of a thread's scratch memory.
    pub(super) scratch: usize,
    /// Number of floats of the input.
    pub(super) input: usize,
    /// Dimensions of the gradient of the input, or with images of their convolution, if the plan computes it.
    pub(super) input_gradient: Option<[usize; 4]>,
    /// Number of values of a channel of each convolution's output.
    pub(super) counts: Vec<usize>,
    /// Dimensions of the output: `[N, C]`, or `[N, C, H, W]`.
    pub(super) output: Vec<usize>,
}

impl Plan {
    /// Plan for a valid network.
    ///
    /// # Errors
    /// [`NetworkError::Layer`], [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`].
    pub(super) fn new(
        network: &Network,
        size: [usize; 3],
        gradients: GradientsOf,
        kernels: &'static Kernels,
        threads: usize,
    ) -> Result<Self, NetworkError> {
        let [batch, height, width] = size;
        let channels = network.channels();
        NetworkError::require("forward", "number of images", batch.max(1), batch)?;
        if height == 0 || width == 0 {
            return Err(NetworkError::TooSmall { layer: network.layers[0].name.clone(), height, width });
        }
        let too_large = || NetworkError::TooLarge { batch, height, width };
        // All maps together, with borders, padded channels and the products of Winograd's method, are below sixteen times
        // this, so no sum or product of extents below overflows.
        let all_channels =
            channels.iter().fold(0usize, |sum, &channels| sum.saturating_add(channels).saturating_add(16));
        let padded = [height, width].map(|size| size.saturating_add(16));
        [batch, all_channels, padded[0], padded[1]]
            .iter()
            .try_fold(1usize, |n, &e| n.checked_mul(e))
            .filter(|&n| n < isize::MAX as usize >> 8)
            .ok_or_else(too_large)?;
        let input = batch * channels[0] * height * width;
        let layers = Layers::new(network, batch, [height, width], Builder::new(kernels, threads))?;
        let counts = layers.counts();
        let built = layers.build(gradients);
        let Builder { phases, tensors, scratch, .. } = built.builder;
        let forward = built.forward;
        let (offsets, arena) = assign(&tensors);
        let (input_gradient, output) = (built.input_gradient, built.output);
        let plan = Self { phases, forward, offsets, arena, scratch, input, input_gradient, counts, output };
        plan.check(network, &tensors, kernels.oc);
        Ok(plan)
    }

    /// Panics unless every step stays inside its tensors, on which all `unsafe` code of the steps relies. A failure is
    /// a bug of the builder.
    fn check(&self, network: &Network, tensors: &[Lifetime], oc: usize) {
        let output: usize = self.output.iter().product();
        let weights: Vec<usize> = network.convs().map(super::network::Conv::weight_len).collect();
        let outputs: Vec<usize> = network.convs().map(|conv| conv.out_channels).collect();
        let len = |tensor: usize| tensors[tensor].len;
        for (phase, step) in self.phases.iter().enumerate().flat_map(|(i, steps)| steps.iter().map(move |s| (i, s))) {
            let Step { name, op, shares, .. } = step;
            assert!(*shares > 0);
            match op {
                Op::Images(op) => op.check(self.input, len(op.to.tensor)),
                Op::Copy(op) => {
                    let expected = if op.source == Source::Input { self.input } else { output };
                    let plain = op.plain_len();
                    assert!(plain == expected, "{name} has {plain} elements instead of {expected}");
                    op.check(len(op.view.tensor), plain);
                }
                Op::Output(op) => {
                    let gradient = || self.input_gradient.map_or(0, |dims| dims.iter().product());
                    let expected = if phase < self.forward { output } else { gradient() };
                    let end = op.end();
                    assert!(end == expected, "{name} has {end} elements instead of {expected}");
                    op.check(len(op.tensor()), expected);
                }
                Op::Border(op) => op.check(len(op.tensor())),
                Op::Pack(op) => op.check(oc, len(op.to), |conv| weights[conv]),
                Op::Direct(op) => op.check(oc, len),
                Op::Winograd(op) => op.check(oc, self.scratch, len),
                Op::Normalization(op, pass) => op.check(pass, len, |conv| outputs[conv]),
                Op::Pool(op) => op.check(len),
                Op::WeightGradient(op) => op.check(len),
                Op::WinogradGradient(op) => op.check(len, self.scratch),
                Op::WinogradGradientOutput(op) => op.check(len),
                Op::Unpack(op) => op.check(len(op.from), |conv| weights[conv]),
            }
        }
    }
}
