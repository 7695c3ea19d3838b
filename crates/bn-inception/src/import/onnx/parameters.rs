//! From a layer's nodes to its parameters.

use std::collections::BTreeSet;

use bn_inception_formats::{Array, Node};

use super::unsupported;
use super::walk::{Graph, Unit};
use crate::import::ImportError;

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

impl<'a> Graph<'a> {
    /// Parameters of a unit: (our name's last part, values, the file's name).
    pub(super) fn tensors_of(
        &self,
        unit: &Unit<'a>,
        used: &mut BTreeSet<&'a str>,
    ) -> Result<Vec<(&'static str, Array, &'a str)>, ImportError> {
        let mut tensors = Vec::with_capacity(6);
        let conv = unit.conv.map_or(&[][..], |node| &node.inputs);
        let norm = unit.norm.map_or(&[][..], |node| &node.inputs);
        let inputs = [
            ("weight", conv.get(1)),
            ("bias", conv.get(2)),
            ("norm.gamma", norm.get(1)),
            ("norm.beta", norm.get(2)),
            ("norm.running_mean", norm.get(3)),
            ("norm.running_var", norm.get(4)),
        ];
        for (part, input) in inputs {
            let Some(input) = input.filter(|name| !name.is_empty()) else {
                continue;
            };
            let name = self
                .constant(input)
                .ok_or_else(|| unsupported(format!("`{input}` is no constant")))?;
            used.insert(name);
            tensors.push((part, self.archive.tensors[name].clone(), name));
        }
        // y = (x̂ γ + β) · scale + shift
        for (part, array, name) in &mut tensors {
            let affected = match *part {
                "norm.gamma" => [unit.scale, None],
                "norm.beta" => [unit.scale, unit.shift],
                _ => continue,
            };
            let [scale, shift] = affected
                .map(|name| name.map(|name| self.archive.tensors[name].clone().into_values()));
            let mut values = array.clone().into_values();
            for (operand, apply) in [
                (scale, (|a, b| a * b) as fn(f32, f32) -> f32),
                (shift, |a, b| a + b),
            ] {
                let Some(operand) = operand else { continue };
                if operand.len() != values.len() {
                    return Err(unsupported(format!(
                        "`{name}` and the layer after it differ in length"
                    )));
                }
                values = values
                    .iter()
                    .zip(operand)
                    .map(|(a, b)| apply(*a, b))
                    .collect();
            }
            *array = Array::new(vec![values.len()], values);
        }
        used.extend([unit.scale, unit.shift].into_iter().flatten());
        if unit.norm.is_none() && (unit.scale.is_some() || unit.shift.is_some()) {
            return Err(unsupported("a scale without a normalisation".to_owned()));
        }
        Ok(tensors)
    }

    /// Weight `[classes, channels]` and bias of the last layer.
    pub(super) fn classifier(
        &self,
        node: &'a Node,
        used: &mut BTreeSet<&'a str>,
    ) -> Result<Vec<(&'static str, Array, &'a str)>, ImportError> {
        let bias = match node.operator.as_str() {
            "Gemm" => node.inputs.get(2),
            _ => self.added_to(node.outputs.first()),
        };
        let transposed = node.integers.get("transB").is_some_and(|flag| flag == &[1]);
        let plain = ["alpha", "beta"]
            .iter()
            .all(|key| node.floats.get(*key).is_none_or(|v| *v == 1.0));
        if !plain {
            return Err(unsupported(format!("`{}` scales its result", node.name)));
        }
        let mut tensors = Vec::with_capacity(2);
        for (part, input) in [("weight", node.inputs.get(1)), ("bias", bias)] {
            let Some(name) = input.and_then(|input| self.constant(input)) else {
                continue;
            };
            used.insert(name);
            let array = self.archive.tensors[name].clone();
            let array = match (part, transposed) {
                ("weight", false) => transpose(array),
                _ => array,
            };
            tensors.push((part, array, name));
        }
        Ok(tensors)
    }

    /// The constant that an `Add` puts onto `tensor`.
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
    let transposed =
        (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    let values = transposed.map(|at| values[at]).collect();
    Array::new(vec![columns, rows], values)
}
