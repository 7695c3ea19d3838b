//! An ONNX graph under construction.

use burn::tensor::TensorData;

use super::proto::{self, AttributeType};
use crate::padding::Padding;
use crate::state::State;

/// Name of the graph's input.
const INPUT: &str = "images";

/// An attribute of a node.
pub(super) enum Attribute {
    Float(f64),
    Int(i64),
    Ints(Vec<i64>),
}

/// Nodes and initializers so far, and the tensors that are not initializers yet.
pub(super) struct Graph {
    state: State,
    nodes: Vec<proto::Node>,
    initializers: Vec<proto::Tensor>,
}

impl Graph {
    /// An empty graph for a network with the tensors of `state`.
    pub(super) fn new(state: State) -> Self {
        Self { state, nodes: Vec::new(), initializers: Vec::new() }
    }

    /// Name of the network's input.
    pub(super) fn input(&self) -> String {
        INPUT.to_owned()
    }

    /// Adds the network's tensor called `name` as an initializer and returns the name; `None` if there is no such
    /// tensor.
    pub(super) fn parameter(&mut self, name: &str) -> Option<String> {
        let data = self.state.remove(name)?;
        Some(self.initializer(name, &data))
    }

    /// The same for the scale of a batch normalisation, which is 1 if the network has none.
    pub(super) fn scale(&mut self, name: &str, channels: usize) -> String {
        let present = self.parameter(name);
        present.unwrap_or_else(|| {
            let ones = TensorData::new(vec![1.0_f32; channels], [channels]);
            self.initializer(name, &ones)
        })
    }

    fn initializer(&mut self, name: &str, data: &TensorData) -> String {
        self.initializers.push(proto::Tensor {
            dims: data.shape().iter().map(|dim| *dim as i64).collect(),
            data_type: proto::FLOAT,
            name: name.to_owned(),
            raw_data: data.iter::<f32>().flat_map(f32::to_le_bytes).collect(),
        });
        name.to_owned()
    }

    /// Adds a node called `name`, whose output has the same name.
    pub(super) fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: Vec<String>,
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) -> String {
        self.nodes.push(proto::Node {
            input: inputs,
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute: attributes.into_iter().map(attribute).collect(),
        });
        name.to_owned()
    }

    /// The graph from its input of `channels` channels and `size` × `size` pixels to the last node's output, a vector
    /// called `output` of `length` values an image.
    pub(super) fn finish(
        mut self,
        name: &str,
        [channels, size]: [usize; 2],
        (output, length): (&str, usize),
    ) -> proto::Graph {
        if let Some(last) = self.nodes.last_mut() {
            last.output = vec![output.to_owned()];
        }
        proto::Graph {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.initializers,
            input: vec![value_info(INPUT, &[channels, size, size])],
            output: vec![value_info(output, &[length])],
        }
    }
}

/// ONNX's `pads` for the same padding of height and width: fronts, then backs.
pub(super) fn pads((front, back): Padding) -> Attribute {
    Attribute::Ints(vec![front, front, back, back].into_iter().map(|p| p as i64).collect())
}

/// The same number for height and width.
pub(super) fn square(side: usize) -> Attribute {
    Attribute::Ints(vec![side as i64; 2])
}

fn attribute((name, value): (&'static str, Attribute)) -> proto::Attribute {
    let mut attribute = proto::Attribute { name: name.to_owned(), ..proto::Attribute::default() };
    let kind = match value {
        Attribute::Float(value) => {
            attribute.f = Some(value as f32);
            AttributeType::Float
        }
        Attribute::Int(value) => {
            attribute.i = Some(value);
            AttributeType::Int
        }
        Attribute::Ints(values) => {
            attribute.ints = values;
            AttributeType::Ints
        }
    };
    attribute.set_type(kind);
    attribute
}

/// A float tensor `[batch, …]`.
fn value_info(name: &str, sizes: &[usize]) -> proto::ValueInfo {
    let batch = proto::Dimension { dim_value: None, dim_param: Some("batch".to_owned()) };
    let fixed = sizes.iter().map(|size| proto::Dimension { dim_value: Some(*size as i64), dim_param: None });
    let shape = proto::TensorShape { dim: std::iter::once(batch).chain(fixed).collect() };
    proto::ValueInfo {
        name: name.to_owned(),
        r#type: Some(proto::Type {
            tensor_type: Some(proto::TensorType { elem_type: proto::FLOAT, shape: Some(shape) }),
        }),
    }
}
