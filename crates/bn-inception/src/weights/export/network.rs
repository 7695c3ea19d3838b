//! The nodes of a network's ONNX graph, layer by layer.

use super::graph::{Attribute, Graph, pads, square};
use crate::config::{Activation, BnInceptionConfig, Normalization};
use crate::layers::{self, Convolution, Operation};
use crate::pool::Pooling;
use crate::stem::local_response;

/// The end of a graph of features.
pub(crate) struct FeatureEnd<'a> {
    /// `stem`, `3a` … `5b` or `classifier`.
    pub(crate) end_point: &'a str,
    /// Pooling of its map, or of the map that the classifier reads.
    pub(crate) pooling: Pooling,
}

/// Adds the network of `config`, whose tensors `graph` was made with, up to `end`: all of it, or its features.
pub(super) fn build(graph: &mut Graph, config: &BnInceptionConfig, end: Option<&FeatureEnd<'_>>) {
    let mut layers = config.layers();
    let pooling = end.map_or(Pooling::Average, |end| end.pooling);
    if let Some(end) = end {
        let count = layers.iter().rposition(|layer| layer.block == end.end_point).map_or(0, |last| last + 1);
        layers.truncate(count);
    }
    let sizes = layers::sizes(&layers, config.input_size);
    let mut outputs: Vec<String> = Vec::with_capacity(layers.len());
    for layer in &layers {
        let mut inputs: Vec<String> = layer.inputs.iter().map(|input| outputs[*input].clone()).collect();
        if inputs.is_empty() {
            inputs.push(graph.input());
        }
        let padding = pads(layer.padding(layers::input_size(layer, &sizes, config.input_size)));
        let name = layer.name.as_str();
        outputs.push(match layer.operation {
            Operation::Convolution(convolution) => {
                unit(graph, name, inputs, &convolution, padding, config.normalization)
            }
            Operation::MaxPool { stride, .. } => {
                let attributes = [("kernel_shape", square(3)), ("strides", square(stride)), ("pads", padding)];
                graph.node("MaxPool", name, inputs, attributes)
            }
            Operation::AveragePool { includes_padding } => {
                let attributes = [
                    ("kernel_shape", square(3)),
                    ("strides", square(1)),
                    ("pads", padding),
                    ("count_include_pad", Attribute::Int(i64::from(includes_padding))),
                ];
                graph.node("AveragePool", name, inputs, attributes)
            }
            Operation::LocalResponseNorm => local_response_norm(graph, name, inputs),
            Operation::Concatenation => graph.node("Concat", name, inputs, [("axis", Attribute::Int(1))]),
            Operation::GlobalAveragePool => global_pool(graph, inputs, pooling),
            Operation::Linear { .. } => {
                inputs.extend(parameters(graph, name, &["weight", "bias"]));
                graph.node("Gemm", name, inputs, [("transB", Attribute::Int(1))])
            }
        });
    }
    let ends_in_map = !matches!(layers.last().map(|layer| layer.operation), Some(Operation::Linear { .. }));
    if let Some(map) = outputs.pop().filter(|_| ends_in_map) {
        global_pool(graph, vec![map], pooling);
    }
}

/// Adds the pooling of a whole map to a vector, and returns the last node's output.
fn global_pool(graph: &mut Graph, inputs: Vec<String>, pooling: Pooling) -> String {
    let pooled = match pooling {
        Pooling::Average => graph.node("GlobalAveragePool", "pool", inputs, []),
        Pooling::Max => graph.node("GlobalMaxPool", "pool", inputs, []),
        Pooling::Sum => {
            let means = graph.node("GlobalAveragePool", "pool.average", inputs.clone(), []);
            let maxima = graph.node("GlobalMaxPool", "pool.max", inputs, []);
            graph.node("Add", "pool", vec![means, maxima], [])
        }
    };
    graph.node("Flatten", "flatten", vec![pooled], [])
}

/// Adds a convolution and the operations that follow it, and returns the last node's output.
fn unit(
    graph: &mut Graph,
    name: &str,
    mut inputs: Vec<String>,
    convolution: &Convolution,
    padding: Attribute,
    normalization: Normalization,
) -> String {
    inputs.extend(parameters(graph, name, &["weight", "bias"]));
    let attributes = [
        ("kernel_shape", square(convolution.kernel)),
        ("strides", square(convolution.stride)),
        ("pads", padding),
        ("group", Attribute::Int(convolution.groups as i64)),
    ];
    let mut x = graph.node("Conv", name, inputs, attributes);
    if let Normalization::Batch { epsilon, .. } = normalization
        && convolution.norm
    {
        let norm = format!("{name}.norm");
        let mut inputs = vec![x, graph.scale(&format!("{norm}.gamma"), convolution.out_channels)];
        inputs.extend(parameters(graph, &norm, &["beta", "running_mean", "running_var"]));
        x = graph.node("BatchNormalization", &norm, inputs, [("epsilon", Attribute::Float(epsilon))]);
    }
    match convolution.activation {
        Some(Activation::Relu) => graph.node("Relu", &format!("{name}.relu"), vec![x], []),
        Some(Activation::Sigmoid) => graph.node("Sigmoid", &format!("{name}.sigmoid"), vec![x], []),
        None => x,
    }
}

fn local_response_norm(graph: &mut Graph, name: &str, inputs: Vec<String>) -> String {
    let lrn = local_response();
    let attributes = [
        ("size", Attribute::Int(lrn.size as i64)),
        ("alpha", Attribute::Float(lrn.alpha)),
        ("beta", Attribute::Float(lrn.beta)),
        ("bias", Attribute::Float(lrn.k)),
    ];
    graph.node("LRN", name, inputs, attributes)
}

/// Adds those of the tensors `{prefix}.{part}` that exist to the graph, and returns their names.
fn parameters(graph: &mut Graph, prefix: &str, parts: &[&str]) -> Vec<String> {
    let parts = parts.iter().filter_map(|part| graph.parameter(&format!("{prefix}.{part}")));
    parts.collect()
}
