//! Folding: batch normalisation merged into the convolution before it (paper, section 3.1: at inference the
//! normalisation is a fixed linear map).

use bn_inception_kernels::infer::merge_separable;
use burn::tensor::TensorData;

use crate::config::{BnInceptionConfig, Normalization, StemKind};
use crate::state::State;
use crate::topology::DEPTH_MULTIPLIER;

/// The state of the folded network and its configuration.
///
/// For `z = w * x + b` and `y = γ (z - μ) / √(σ² + ε) + β`, Algorithm 2's step 11 with the bias the paper drops, the
/// folded filter is `w · γ / √(σ² + ε)` and the bias `(b - μ) γ / √(σ² + ε) + β`, computed in `f64`. A separable stem
/// becomes the equivalent plain 7x7 convolution, because nothing lies between its two halves.
///
/// `state` must fit `config`.
pub(crate) fn fold(config: &BnInceptionConfig, mut state: State) -> (BnInceptionConfig, State) {
    let mut folded = BnInceptionConfig { conv_bias: true, ..config.clone() };
    if let Normalization::Batch { epsilon, .. } = config.normalization {
        folded.normalization = Normalization::Folded;
        for layer in config.layers() {
            merge_norm(&mut state, &layer.name, epsilon);
        }
    }
    if let Some(depthwise) = state.remove("stem.depthwise.weight") {
        folded.stem = StemKind::Plain;
        merge_stem(&mut state, depthwise);
    }
    (folded, state)
}

/// Merges the batch normalisation after the layer called `unit`, if it has one, into its filters and bias.
fn merge_norm(state: &mut State, unit: &str, epsilon: f64) {
    let mut take = |part: &str| state.remove(&format!("{unit}.{part}"));
    let Some(beta) = take("norm.beta").map(values) else {
        return;
    };
    let (Some(weight), Some(mean), Some(variance)) =
        (take("weight"), take("norm.running_mean"), take("norm.running_var"))
    else {
        return;
    };
    let shape = weight.shape().to_vec();
    let (mut weight, mean, variance) = (values(weight), values(mean), values(variance));
    let gamma = take("norm.gamma").map(values);
    let bias = take("bias").map(values);
    let taps = weight.len() / beta.len();
    let mut shift = Vec::with_capacity(beta.len());
    for (channel, filter) in weight.chunks_exact_mut(taps).enumerate() {
        let of = |values: &[f32]| f64::from(values[channel]);
        let gamma = gamma.as_deref().map_or(1.0, of);
        let scale = gamma / (of(&variance) + epsilon).sqrt();
        for value in filter {
            *value = (f64::from(*value) * scale) as f32;
        }
        let centre = bias.as_deref().map_or(0.0, of) - of(&mean);
        shift.push((centre * scale + of(&beta)) as f32);
    }
    let channels = shift.len();
    state.insert(format!("{unit}.weight"), TensorData::new(weight, shape));
    state.insert(format!("{unit}.bias"), TensorData::new(shift, [channels]));
}

/// Merges a separable stem, whose 1x1 is folded already, into the equivalent plain convolution.
fn merge_stem(state: &mut State, depthwise: TensorData) {
    let name = "stem.conv1.weight";
    let Some(pointwise) = state.remove(name) else {
        return;
    };
    let (&[middle, _, kernel, _], &[channels, ..]) = (&depthwise.shape()[..], &pointwise.shape()[..]) else {
        return;
    };
    let inputs = middle / DEPTH_MULTIPLIER;
    let extents = [channels, inputs, DEPTH_MULTIPLIER, kernel];
    let merged = merge_separable(&values(depthwise), &values(pointwise), extents)
        .expect("the tensors have the configuration's shapes");
    let merged = TensorData::new(merged, [channels, inputs, kernel, kernel]);
    state.insert(name.to_owned(), merged);
}

/// Values of a tensor in a [`State`], which holds `f32` only.
pub(crate) fn values(data: TensorData) -> Vec<f32> {
    data.try_into_vec_as::<f32>().unwrap_or_default()
}
