//! Tests of the training engine: against the reference in `f64`, in guarded memory filled with NaN, for any number of
//! threads, on every instruction set.
#![allow(clippy::unwrap_used)]

mod drawn;
mod errors;
mod gradients;
mod guarded;
mod harness;
mod loops;
mod networks;
mod planes;
mod threads;

use super::call::Statistics;
use super::plan::Plan;
use super::{Conv, Forward, Gradients, GradientsOf, Network, Operation, Options, Parameters, Trainer};
use crate::common::{Random, bits};
use crate::simd::kernels::Kernels;

/// Parameters of a convolution.
struct Numbers {
    weight: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Choice of the parameters that a convolution has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    /// Normalisation, scale and shift.
    Normalized,
    /// Scale and shift.
    Plain,
    /// One or the other, some without scale, some without shift.
    Mixed,
}

const STYLES: [Style; 3] = [Style::Normalized, Style::Plain, Style::Mixed];

impl Numbers {
    fn new(conv: &Conv, random: &mut Random) -> Self {
        let scale = (2.0 / (conv.in_channels * conv.kernel * conv.kernel) as f32).sqrt();
        let channels = conv.out_channels;
        Self {
            weight: random.normals(conv.weight_len()).into_iter().map(|w| w * scale).collect(),
            scale: random.normals(channels).into_iter().map(|g| 1.0 + 0.2 * g).collect(),
            shift: random.normals(channels).into_iter().map(|b| 0.2 * b).collect(),
        }
    }

    fn parameters(&self, i: usize, style: Style) -> Parameters<'_> {
        let mixed = style == Style::Mixed;
        Parameters {
            weight: &self.weight,
            scale: Some(&self.scale[..]).filter(|_| !mixed || i % 3 != 1),
            shift: Some(&self.shift[..]).filter(|_| !mixed || i % 3 != 2),
            normalize: style == Style::Normalized || mixed && i.is_multiple_of(2),
        }
    }
}

/// A network with the numbers of a call.
struct Case {
    network: Network,
    numbers: Vec<Numbers>,
    size: [usize; 3],
    input: Vec<f32>,
    output_gradient: Vec<f32>,
}

/// Results of a forward and a backward pass.
struct Results {
    output: Vec<f32>,
    statistics: Vec<Statistics>,
    gradients: Vec<Gradients>,
    input_gradient: Option<Vec<f32>>,
}

impl Case {
    fn new(network: &Network, size: [usize; 3], random: &mut Random) -> Self {
        let any = Kernels::available().next().unwrap();
        let plan = Plan::new(network, size, GradientsOf::Nothing, any, 1).unwrap();
        Self {
            network: network.clone(),
            numbers: network.convs().map(|conv| Numbers::new(conv, random)).collect(),
            size,
            input: random.normals(plan.input),
            output_gradient: random.normals(plan.output.iter().product()),
        }
    }

    fn parameters(&self, style: Style) -> Vec<Parameters<'_>> {
        self.numbers.iter().enumerate().map(|(i, numbers)| numbers.parameters(i, style)).collect()
    }

    fn trainer(&self, instruction_set: &str, threads: usize) -> Trainer {
        Trainer::new(self.network.clone(), &options(instruction_set, threads)).unwrap()
    }

    fn forward(&self, trainer: &Trainer, style: Style, of: GradientsOf) -> Forward {
        trainer.forward(&self.input, self.size, &self.parameters(style), of).unwrap()
    }

    fn backward(&self, trainer: &Trainer, style: Style, forward: Forward) -> Results {
        let Forward { output, statistics, tape, .. } = forward;
        let (gradients, input_gradient) =
            trainer.backward(tape.unwrap(), &self.parameters(style), &self.output_gradient).unwrap();
        Results { output, statistics, gradients, input_gradient }
    }

    fn run(&self, trainer: &Trainer, style: Style) -> Results {
        self.backward(trainer, style, self.forward(trainer, style, GradientsOf::ParametersAndInput))
    }

    /// Height, width and channels of the input, for messages.
    fn name(&self) -> String {
        format!("{:?} of {} layers", self.size, self.network.layers.len())
    }
}

impl Results {
    /// The bits of all numbers.
    fn bits(&self) -> Vec<u32> {
        let mut all = bits(&self.output);
        for Statistics { mean, variance, .. } in &self.statistics {
            all.extend([mean, variance].into_iter().flat_map(|values| bits(values)));
        }
        for Gradients { weight, scale, shift } in &self.gradients {
            all.extend([weight, scale, shift].into_iter().flat_map(|values| bits(values)));
        }
        all.extend(self.input_gradient.iter().flat_map(|values| bits(values)));
        all
    }
}

fn options(instruction_set: &str, threads: usize) -> Options {
    Options {
        threads: std::num::NonZeroUsize::new(threads),
        instruction_set: Some(instruction_set.to_owned()),
        ..Options::default()
    }
}
