//! Conversion between a folded network's state and its description for the CPU engine.

use bn_inception_kernels::infer;
use burn::tensor::TensorData;

use crate::fold::values;
use crate::layers::{Layer, Operation};
use crate::segment::placement;
use crate::state::State;

/// The network of the first layers of a folded network, or of all of them, with the tensors of `state`, for the engine.
/// They must have ReLUs and no local response normalisation; `state` must fit them.
pub(crate) fn to_network(layers: &[Layer], mut state: State) -> infer::Network {
    let mut take = |name: &str, part: &str| state.remove(&format!("{name}.{part}")).map(values).unwrap_or_default();
    let mut described = Vec::with_capacity(layers.len());
    for layer in layers {
        let mut inputs = layer.inputs.clone();
        let operation = match layer.operation {
            Operation::Convolution(convolution) => infer::Operation::Conv(infer::Conv {
                weight: take(&layer.name, "weight"),
                bias: take(&layer.name, "bias"),
                in_channels: convolution.in_channels,
                out_channels: convolution.out_channels,
                kernel: convolution.kernel,
                stride: convolution.stride,
                padding: placement(|size| layer.padding(size)),
            }),
            Operation::MaxPool { stride, .. } => {
                infer::Operation::MaxPool { stride, padding: placement(|size| layer.padding(size)) }
            }
            Operation::AveragePool { includes_padding } => infer::Operation::AveragePool { includes_padding },
            Operation::Concatenation => infer::Operation::Concat,
            // The engine's classifier starts with the mean over all pixels.
            Operation::GlobalAveragePool => continue,
            Operation::Linear { .. } => {
                inputs = inputs.iter().flat_map(|pool| layers[*pool].inputs.clone()).collect();
                let (weight, bias) = (take(&layer.name, "weight"), take(&layer.name, "bias"));
                infer::Operation::Classifier(infer::Linear { weight, bias })
            }
            Operation::LocalResponseNorm => unreachable!("networks with it run through Burn"),
        };
        described.push(infer::Layer { name: layer.name.clone(), inputs, operation });
    }
    infer::Network { layers: described }
}

/// Position of the last layer of the end point `stem`, `3a` … or `5b`.
pub(crate) fn end_of(network: &infer::Network, end_point: &str) -> usize {
    let block = |layer: &infer::Layer| layer.name.split('.').next() == Some(end_point);
    network.layers.iter().rposition(block).expect("every network has all end points")
}

/// The state that [`to_network`] made `network` from.
pub(crate) fn to_state(network: &infer::Network) -> State {
    let mut state = State::new();
    for layer in &network.layers {
        let (weight, bias, shape) = match &layer.operation {
            infer::Operation::Conv(conv) => {
                let shape = vec![conv.out_channels, conv.in_channels, conv.kernel, conv.kernel];
                (&conv.weight, &conv.bias, shape)
            }
            infer::Operation::Classifier(linear) => {
                let classes = linear.bias.len();
                (&linear.weight, &linear.bias, vec![classes, linear.weight.len() / classes.max(1)])
            }
            _ => continue,
        };
        state.insert(format!("{}.weight", layer.name), TensorData::new(weight.clone(), shape));
        state.insert(format!("{}.bias", layer.name), TensorData::new(bias.clone(), [bias.len()]));
    }
    state
}
