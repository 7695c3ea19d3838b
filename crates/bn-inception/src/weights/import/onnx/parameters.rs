//! From a layer's nodes to its parameters.

use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Array, Node};

use super::walk::{Graph, Network, Unit};
use crate::weights::import::error::ImportError;

/// Operators whose constant inputs are shapes and the like, not weights.
const STRUCTURAL: [&str; 14] = [
    "Reshape",
    "Unsqueeze",
    "Squeeze",
    "ReduceMean",
    "Gather",
    "Concat",
    "Slice",
    "Shape",
    "Pad",
    "Expand",
    "ConstantOfShape",
    "Cast",
    "Dropout",
    "Clip",
];

/// A parameter as the graph describes it: a tensor of the file and the operations on it.
#[derive(Debug)]
pub(super) struct Parameter {
    /// Our name.
    pub(super) name: String,
    /// The file's.
    pub(super) origin: String,
    /// Caffe's `Scale` layer, folded in here: a tensor to multiply by, and one to add.
    scale: Option<String>,
    shift: Option<String>,
    /// True if rows and columns are swapped.
    transposed: bool,
}

impl Parameter {
    /// Every tensor that it is computed from.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &String> {
        [Some(&self.origin), self.scale.as_ref(), self.shift.as_ref()].into_iter().flatten()
    }

    /// Its values; `tensor` hands out the file's tensors.
    pub(super) fn values(&self, mut tensor: impl FnMut(&str) -> Array) -> Result<Array, ImportError> {
        let mut array = tensor(&self.origin);
        for (operand, apply) in [(&self.scale, (|a, b| a * b) as fn(f32, f32) -> f32), (&self.shift, |a, b| a + b)] {
            let Some(operand) = operand else { continue };
            let operand = tensor(operand).into_values();
            let mut values = array.into_values();
            if operand.len() != values.len() {
                let name = &self.origin;
                return Err(ImportError::graph(format!("`{name}` and the layer after it differ in length")));
            }
            for (value, operand) in values.iter_mut().zip(operand) {
                *value = apply(*value, operand);
            }
            array = Array::new(vec![values.len()], values);
        }
        Ok(if self.transposed { transpose(array) } else { array })
    }
}

/// Number of uses of each tensor.
pub(super) fn uses(parameters: &[Parameter]) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    for tensor in parameters.iter().flat_map(Parameter::tensors) {
        *uses.entry(tensor.clone()).or_default() += 1;
    }
    uses
}

impl<'a> Graph<'a> {
    /// The parameters of `network`.
    pub(super) fn parameters(&self, network: &Network<'a>) -> Result<Vec<Parameter>, ImportError> {
        let mut parameters = Vec::new();
        for (name, unit) in &network.units {
            self.unit(name, unit, &mut parameters)?;
        }
        self.classifier(network.classifier, &mut parameters)?;
        Ok(parameters)
    }

    fn unit(&self, layer: &str, unit: &Unit<'a>, parameters: &mut Vec<Parameter>) -> Result<(), ImportError> {
        if unit.norm.is_none() && (unit.scale.is_some() || unit.shift.is_some()) {
            return Err(ImportError::graph("a scale without a normalisation"));
        }
        let conv = unit.conv.map_or(&[][..], |node| &node.inputs);
        let norm = unit.norm.map_or(&[][..], |node| &node.inputs);
        // y = (x̂ γ + β) · scale + shift
        for (part, input, scale, shift) in [
            ("weight", conv.get(1), None, None),
            ("bias", conv.get(2), None, None),
            ("norm.gamma", norm.get(1), unit.scale, None),
            ("norm.beta", norm.get(2), unit.scale, unit.shift),
            ("norm.running_mean", norm.get(3), None, None),
            ("norm.running_var", norm.get(4), None, None),
        ] {
            let Some(input) = input.filter(|name| !name.is_empty()) else {
                continue;
            };
            let origin = self.constant(input).ok_or_else(|| ImportError::graph(format!("`{input}` is no constant")))?;
            parameters.push(Parameter {
                name: format!("{layer}.{part}"),
                origin: origin.to_owned(),
                scale: scale.map(str::to_owned),
                shift: shift.map(str::to_owned),
                transposed: false,
            });
        }
        Ok(())
    }

    /// Weight `[classes, channels]` and bias of the last layer.
    fn classifier(&self, node: &'a Node, parameters: &mut Vec<Parameter>) -> Result<(), ImportError> {
        let bias = match node.operator.as_str() {
            "Gemm" => node.inputs.get(2),
            _ => self.added_to(node.outputs.first()),
        };
        let by_class = node.integers.get("transB").is_some_and(|flag| flag == &[1]);
        let plain = ["alpha", "beta"].iter().all(|key| node.floats.get(*key).is_none_or(|v| *v == 1.0));
        if !plain {
            return Err(ImportError::graph(format!("`{}` scales its result", node.name)));
        }
        for (part, input, transposed) in [("weight", node.inputs.get(1), !by_class), ("bias", bias, false)] {
            let Some(origin) = input.and_then(|input| self.constant(input)) else {
                continue;
            };
            parameters.push(Parameter {
                name: format!("classifier.{part}"),
                origin: origin.to_owned(),
                scale: None,
                shift: None,
                transposed,
            });
        }
        Ok(())
    }

    /// The constant that an `Add` adds to `tensor`.
    fn added_to(&self, tensor: Option<&String>) -> Option<&'a String> {
        let tensor = tensor?;
        let mut nodes = self.archive.graph.iter();
        let add = nodes.find(|node| node.operator == "Add" && node.inputs.contains(tensor))?;
        add.inputs.iter().find(|input| *input != tensor)
    }

    /// Tensors that are shapes, axes or the like.
    pub(super) fn structural(&self) -> BTreeSet<&'a str> {
        let nodes = self.archive.graph.iter();
        let shaping = nodes.filter(|node| STRUCTURAL.contains(&node.operator.as_str()));
        let inputs = shaping.flat_map(|node| &node.inputs);
        inputs.map(String::as_str).collect()
    }
}

fn transpose(array: Array) -> Array {
    let &[rows, columns] = array.shape.as_slice() else {
        return array;
    };
    let values = array.into_values();
    let transposed = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    let values = transposed.map(|at| values[at]).collect();
    Array::new(vec![columns, rows], values)
}
