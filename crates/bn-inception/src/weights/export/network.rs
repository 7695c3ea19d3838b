//! The nodes of a network's ONNX graph, layer by layer.

use super::graph::{Attribute, Graph, pads, square};
use crate::config::{Activation, BnInceptionConfig, Normalization};
use crate::layers::{self, Convolution, Operation};
use crate::stem::local_response;

/// Adds the network of `config`, whose tensors `graph` was made with.
pub(super) fn build(graph: &mut Graph, config: &BnInceptionConfig) {
    let layers = config.layers();
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
            Operation::GlobalAveragePool => {
                let pooled = graph.node("GlobalAveragePool", "pool", inputs, []);
                graph.node("Flatten", "flatten", vec![pooled], [])
            }
            Operation::Linear { .. } => {
                inputs.extend(parameters(graph, name, &["weight", "bias"]));
                graph.node("Gemm", name, inputs, [("transB", Attribute::Int(1))])
            }
        });
    }
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
