//! Runs of layers that the CPU engine computes in one call, forward and backward.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bn_inception_kernels::infer::{LayerTime, Placement};
use bn_inception_kernels::train::{self, Trainer};
use burn::tensor::{Tensor, TensorData};

use crate::batch_norm::BatchNorm;
use crate::config::{Activation, BnInceptionConfig, Normalization};
use crate::layers::{Convolution, Layer, Operation};
use crate::ops;
use crate::padding::Padding;

/// Consecutive layers of a network, as one operation of the CPU engine.
#[derive(Debug)]
pub(crate) struct Segment {
    /// `None` if the engine has no such layers: it computes neither local response normalisation nor grouped
    /// convolutions.
    network: Option<train::Network>,
    trainer: OnceLock<Arc<Trainer>>,
}

/// Parameters of one convolution of a segment, for one call.
pub(crate) struct Parameters<'a> {
    /// `[out_channels, in_channels, k, k]`
    pub(crate) filters: Tensor<4>,
    /// `[out_channels]`
    pub(crate) scale: Option<Tensor<1>>,
    /// `[out_channels]`
    pub(crate) shift: Option<Tensor<1>>,
    /// The layer whose running statistics those of the batch are blended into, after normalising with them.
    pub(crate) update: Option<Update<'a>>,
}

/// A layer's running statistics, to be updated.
pub(crate) struct Update<'a> {
    pub(crate) norm: &'a BatchNorm,
    /// Weight of the batch.
    pub(crate) weight: f64,
    /// The convolution's bias, which the engine leaves out.
    pub(crate) bias: Option<Tensor<1>>,
}

impl Segment {
    /// The layers at the positions `range` of a network. All that they read from outside is one layer, or the images if
    /// the range starts with the first layer.
    pub(crate) fn new(config: &BnInceptionConfig, layers: &[Layer], range: Range<usize>) -> Arc<Self> {
        let network = describe(config, layers, range).filter(|network| network.validate().is_ok());
        Arc::new(Self { network, trainer: OnceLock::new() })
    }

    /// This segment, one convolution, without its non-linearity.
    pub(crate) fn without_activation(&self) -> Arc<Self> {
        let mut network = self.network.clone();
        for layer in network.iter_mut().flat_map(|network| &mut network.layers) {
            if let train::Operation::Conv(conv) = &mut layer.operation {
                conv.activation = train::Activation::Identity;
            }
        }
        Arc::new(Self { network, trainer: OnceLock::new() })
    }

    /// Output of the segment, `[N, C]` or `[N, C, H, W]`; `None` if the engine has no such layers or does not serve the
    /// device.
    ///
    /// # Panics
    /// If `x` has another number of channels, or is too small or too large; if `BN_INCEPTION_ISA` names an instruction
    /// set that the processor lacks.
    pub(crate) fn run<'a, const D: usize>(
        &self,
        x: &Tensor<4>,
        parameters: impl FnOnce() -> Vec<Parameters<'a>>,
    ) -> Option<Tensor<D>> {
        let network = self.network.as_ref().filter(|_| ops::serves(x))?;
        // Elsewhere the parameters of inference cost a few operations for each layer.
        let parameters = parameters();
        if !parameters.iter().all(|p| ops::serves(&p.filters)) {
            return None;
        }
        let trainer = self.trainer_of(network);
        let (mut convolutions, mut updates) = (Vec::new(), Vec::new());
        for Parameters { filters, scale, shift, update } in parameters {
            convolutions.push(ops::ConvParameters { filters, scale, shift, normalize: update.is_some() });
            updates.push(update);
        }
        let device = x.device().inner();
        let (y, statistics) = ops::segment(x.clone(), convolutions, trainer)?;
        for (update, statistics) in updates.into_iter().zip(statistics) {
            if let Some(Update { norm, weight, bias }) = update {
                let moments = [statistics.mean, statistics.variance];
                let moments = moments.map(|values| Tensor::from_floats(&values[..], &device));
                norm.blend(moments, statistics.count, bias, weight);
            }
        }
        Some(y)
    }

    /// The engine for these layers, if it has them.
    ///
    /// # Panics
    /// If `BN_INCEPTION_ISA` names an instruction set that the processor lacks.
    pub(crate) fn trainer(&self) -> Option<&Arc<Trainer>> {
        self.network.as_ref().map(|network| self.trainer_of(network))
    }

    /// The engine with as many threads as rayon's pool has, on which Burn's operations run.
    fn trainer_of(&self, network: &train::Network) -> &Arc<Trainer> {
        self.trainer.get_or_init(|| {
            let options = train::Options {
                threads: NonZeroUsize::new(rayon::current_num_threads()),
                ..train::Options::default()
            };
            Arc::new(Trainer::new(network.clone(), &options).unwrap_or_else(|error| panic!("{error}")))
        })
    }

    /// Time of each step of a forward and a backward pass.
    pub(crate) fn profile(&self, x: Tensor<4>, parameters: Vec<Parameters<'_>>) -> Option<Vec<LayerTime>> {
        let host = |data: TensorData| data.convert::<f32>().try_into_vec::<f32>().unwrap_or_default();
        let trainer = self.trainer()?;
        let [batch, _, height, width] = x.dims();
        let x = host(x.into_data());
        let mut convolutions = Vec::with_capacity(parameters.len());
        for Parameters { filters, scale, shift, update } in parameters {
            let vector = |tensor: Option<Tensor<1>>| tensor.map(|tensor| host(tensor.into_data()));
            convolutions.push((host(filters.into_data()), vector(scale), vector(shift), update.is_some()));
        }
        let parameters: Vec<_> = convolutions
            .iter()
            .map(|(weight, scale, shift, normalize)| train::Parameters {
                weight,
                scale: scale.as_deref(),
                shift: shift.as_deref(),
                normalize: *normalize,
            })
            .collect();
        let times = trainer.profile(&x, [batch, height, width], &parameters);
        Some(times.unwrap_or_else(|error| panic!("{error}")))
    }
}

/// The engine's description of the layers at the positions `range`.
fn describe(config: &BnInceptionConfig, layers: &[Layer], range: Range<usize>) -> Option<train::Network> {
    let epsilon = match config.normalization {
        Normalization::Batch { epsilon, .. } => epsilon,
        _ => 1.0,
    };
    let outside = |input: &usize| *input < range.start;
    let first = &layers[range.start];
    let source = match (first.inputs.first(), config.image_channels()) {
        (None, 3) => train::Operation::Images,
        // The engine has 7x7 convolutions of colour images only; others leave the network invalid, and so to Burn.
        (None, channels) => train::Operation::Map { channels },
        (Some(input), _) => train::Operation::Map { channels: layers[*input].channels },
    };
    let mut described = vec![train::Layer { name: "input".to_owned(), inputs: Vec::new(), operation: source }];
    // Position in `described` of each layer of the range.
    let mut positions = Vec::with_capacity(range.len());
    for (number, layer) in layers[range.clone()].iter().enumerate() {
        let separable = layer.convolution().is_some_and(|c| c.groups > 1);
        if separable && number == 0 && range.len() > 1 {
            // Becomes one convolution with the 1x1 after it.
            positions.push(0);
            continue;
        }
        if layer.inputs.iter().filter(|input| outside(input)).any(|input| Some(input) != first.inputs.first()) {
            return None;
        }
        let operation = match layer.operation {
            Operation::Convolution(convolution) if convolution.groups == 1 => {
                let depthwise = layer.inputs.first().filter(|input| range.contains(input));
                let depthwise = depthwise.and_then(|input| layers[*input].convolution()).filter(|c| c.groups > 1);
                train::Operation::Conv(conv(&convolution, depthwise, epsilon))
            }
            Operation::MaxPool { stride, .. } => {
                train::Operation::MaxPool { stride, padding: placement(|size| layer.padding(size)) }
            }
            Operation::AveragePool { includes_padding } => train::Operation::AveragePool { includes_padding },
            Operation::Concatenation => train::Operation::Concat,
            Operation::GlobalAveragePool => train::Operation::Mean,
            Operation::Convolution(_) | Operation::LocalResponseNorm | Operation::Linear { .. } => return None,
        };
        let position = |input: &usize| if outside(input) { 0 } else { positions[input - range.start] };
        let inputs = if layer.inputs.is_empty() { vec![0] } else { layer.inputs.iter().map(position).collect() };
        positions.push(described.len());
        described.push(train::Layer { name: layer.name.clone(), inputs, operation });
    }
    Some(train::Network { layers: described })
}

/// A convolution, or with the `depthwise` one before it the product of both.
fn conv(convolution: &Convolution, depthwise: Option<&Convolution>, epsilon: f64) -> train::Conv {
    let window = depthwise.unwrap_or(convolution);
    train::Conv {
        in_channels: window.in_channels,
        out_channels: convolution.out_channels,
        kernel: window.kernel,
        stride: window.stride,
        padding: placement(|size| window.padding(size)),
        epsilon,
        activation: match convolution.activation {
            None => train::Activation::Identity,
            Some(Activation::Relu) => train::Activation::Relu,
            Some(Activation::Sigmoid) => train::Activation::Sigmoid,
        },
    }
}

/// Every padding rule here depends on a size's parity alone.
pub(crate) fn placement(padding: impl Fn(usize) -> Padding) -> Placement {
    Placement { even: padding(8), odd: padding(9) }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
