//! ONNX models: initializers, constants and the graph's nodes. Values of tensors may be in files beside the model.
//!
//! Field numbers are those of `onnx/onnx.proto`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::archive::{Archive, Node};
use crate::array::{Array, Budget, Element, Values, elements};
use crate::error::{Problem, shown};
use crate::external::{Folder, Place};
use crate::format::Format;
use crate::limits::{MAX_CONSTANT_VALUES, MAX_NAME, MAX_NODES, MAX_RANK};
use crate::wire::{Value, fields};

/// Element types of `raw_data`, by `TensorProto.DataType`.
const ELEMENTS: [(i64, Element); 10] = [
    (1, Element::F32),
    (2, Element::U8),
    (3, Element::I8),
    (5, Element::I16),
    (6, Element::I32),
    (7, Element::I64),
    (9, Element::Bool),
    (10, Element::F16),
    (11, Element::F64),
    (16, Element::BF16),
];

/// Maximum number of values of an attribute, and of inputs and outputs of a node. Kernels, strides and paddings have
/// up to four values.
const MAX_ATTRIBUTE: usize = 64;

/// Reads a model; `folder` is the one it is in.
pub(crate) fn read(bytes: &[u8], folder: Option<&Path>) -> Result<Archive, Problem> {
    let mut model = Model {
        budget: Budget::new(bytes.len()),
        folder: Folder::new(folder),
        constants: 0,
        archive: Archive::of_tensors(Format::Onnx, BTreeMap::new()),
    };
    let mut graph = None;
    for field in fields(bytes) {
        match field? {
            (7, value) => graph = Some(value.bytes()?),
            (14, value) => model.property(value.bytes()?)?,
            _ => {}
        }
    }
    model.graph(graph.ok_or_else(|| Problem::malformed("a model without a graph"))?)?;
    Ok(model.archive)
}

struct Model<'p> {
    budget: Budget,
    folder: Folder<'p>,
    /// Number of values that the file describes without storing them.
    constants: usize,
    archive: Archive,
}

impl Model<'_> {
    fn property(&mut self, entry: &[u8]) -> Result<(), Problem> {
        let (mut key, mut value) = ("", "");
        for field in fields(entry) {
            match field? {
                (1, text) => key = text.text()?,
                (2, text) => value = text.text()?,
                _ => {}
            }
        }
        self.archive.metadata.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn graph(&mut self, graph: &[u8]) -> Result<(), Problem> {
        // A node may stand before the tensors that it needs, so tensors go first.
        for field in fields(graph) {
            match field? {
                (5, value) => self.initializer(value.bytes()?)?,
                (15, _) => return Err(Problem::malformed("sparse tensors, which no weights need")),
                _ => {}
            }
        }
        for field in fields(graph) {
            if let (1, value) = field? {
                self.node(value.bytes()?)?;
            }
        }
        Ok(())
    }

    fn initializer(&mut self, message: &[u8]) -> Result<(), Problem> {
        let tensor = Tensor::parse(message)?;
        let name = tensor.name;
        let array = tensor.array(name, &mut self.budget, &mut self.folder)?;
        self.insert(name, array)
    }

    fn insert(&mut self, name: &str, array: Array) -> Result<(), Problem> {
        match self.archive.tensors.insert(name.to_owned(), array) {
            None => Ok(()),
            Some(_) => Err(Problem::tensor(name, "occurs twice")),
        }
    }

    fn node(&mut self, message: &[u8]) -> Result<(), Problem> {
        let mut node = Node::default();
        let mut value = None;
        for field in fields(message) {
            match field? {
                (1, text) => node.inputs.push(name(text)?),
                (2, text) => node.outputs.push(name(text)?),
                (3, text) => node.name = name(text)?,
                (4, text) => node.operator = name(text)?,
                (5, attribute) => {
                    let tensor = attribute_of(&mut node, attribute.bytes()?)?;
                    value = tensor.or(value);
                }
                _ => {}
            }
            Problem::limit("number of a node's inputs", node.inputs.len(), MAX_ATTRIBUTE)?;
            Problem::limit("number of a node's outputs", node.outputs.len(), MAX_ATTRIBUTE)?;
        }
        match (node.operator.as_str(), node.outputs.as_slice()) {
            ("Constant", [output]) => {
                let missing = || Problem::tensor(output, "is a constant without a value");
                let array =
                    Tensor::parse(value.ok_or_else(missing)?)?.array(output, &mut self.budget, &mut self.folder)?;
                self.insert(&output.clone(), array)?;
            }
            ("ConstantOfShape", [output]) => {
                let array = self.filled(output, &node.inputs, value)?;
                self.insert(&output.clone(), array)?;
                self.push(node)?;
            }
            _ => self.push(node)?,
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<(), Problem> {
        self.archive.graph.push(node);
        Problem::limit("number of nodes", self.archive.graph.len(), MAX_NODES)
    }

    /// Output of `ConstantOfShape`: the shape is another tensor, the value an attribute, 0 by default.
    fn filled(&mut self, output: &str, inputs: &[String], value: Option<&[u8]>) -> Result<Array, Problem> {
        let shape = inputs.first().and_then(|name| self.archive.tensors.get(name));
        let shape = match shape.map(|shape| &shape.values) {
            Some(Values::Each(values)) if values.len() <= MAX_RANK => {
                values.iter().map(|v| *v as usize).collect::<Vec<_>>()
            }
            _ => {
                return Err(Problem::tensor(output, "is filled, but its shape is not in the file"));
            }
        };
        self.constants = self.constants.saturating_add(elements(output, &shape)?);
        Problem::limit("number of constant values", self.constants, MAX_CONSTANT_VALUES)?;
        self.budget.admit(output, &[])?;
        let value = match value {
            Some(message) => Tensor::parse(message)?.array(output, &mut self.budget, &mut self.folder)?,
            None => Array::new(vec![1], vec![0.0]),
        };
        match value.values {
            Values::Each(one) if one.len() == 1 => Ok(Array { shape, values: Values::Constant(one[0]) }),
            _ => Err(Problem::tensor(output, "is filled with more than one value")),
        }
    }
}

fn name(value: Value<'_>) -> Result<String, Problem> {
    let text = value.text()?;
    Problem::limit("length of a name", text.len(), MAX_NAME)?;
    Ok(text.to_owned())
}

/// Adds an attribute to `node`, or returns it if it is a tensor.
fn attribute_of<'a>(node: &mut Node, message: &'a [u8]) -> Result<Option<&'a [u8]>, Problem> {
    let (mut key, mut tensor) = (String::new(), None);
    let (mut float, mut text, mut integers) = (None, None, Vec::new());
    for field in fields(message) {
        match field? {
            (1, value) => key = name(value)?,
            (2, value) => float = Some(value.float()?),
            (3, value) => integers.push(value.integer()?),
            (4, value) => text = std::str::from_utf8(value.bytes()?).ok(),
            (5, value) => tensor = Some(value.bytes()?),
            (8, value) => value.integers(&mut integers)?,
            _ => {}
        }
        Problem::limit("length of an attribute", integers.len(), MAX_ATTRIBUTE)?;
    }
    if let Some(text) = text.filter(|text| text.len() <= MAX_NAME) {
        node.texts.insert(key, text.to_owned());
    } else if let Some(float) = float {
        node.floats.insert(key, float);
    } else if !integers.is_empty() {
        node.integers.insert(key, integers);
    }
    Ok(tensor)
}

/// A `TensorProto`.
struct Tensor<'a> {
    name: &'a str,
    shape: Vec<usize>,
    element: Element,
    raw: Option<&'a [u8]>,
    /// Place of the values, if they are in another file.
    external: Option<Place<'a>>,
    /// Values of `float_data`, `int32_data` and the like.
    listed: Vec<f32>,
}

impl<'a> Tensor<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Problem> {
        let (mut name, mut raw, mut listed) = ("", None, Vec::new());
        let (mut dimensions, mut data_type, mut external) = (Vec::new(), 0, false);
        let mut place = Place::default();
        for field in fields(message) {
            match field? {
                (1, value) => value.integers(&mut dimensions)?,
                (2, value) => data_type = value.integer()?,
                (4, value) => value.floats(&mut listed)?,
                (5 | 7, value) => {
                    let mut integers = Vec::new();
                    value.integers(&mut integers)?;
                    listed.extend(integers.into_iter().map(|v| v as f32));
                }
                (8, value) => name = value.text()?,
                (9, value) => raw = Some(value.bytes()?),
                (10, value) => value.doubles(&mut listed)?,
                (13, value) => place.add(value)?,
                // `EXTERNAL` is 1; entries of `external_data` mean nothing otherwise.
                (14, value) => external = value.integer()? == 1,
                _ => {}
            }
            Problem::limit("rank of a tensor", dimensions.len(), MAX_RANK)?;
        }
        Problem::limit("length of a name", name.len(), MAX_NAME)?;
        let element = ELEMENTS.iter().find(|(known, _)| *known == data_type);
        let unknown = || Problem::tensor(name, format!("has data type {data_type}, which no weights need"));
        let (_, element) = *element.ok_or_else(unknown)?;
        let sizes = dimensions.iter().map(|d| usize::try_from(*d).ok());
        let shape = sizes.collect::<Option<Vec<_>>>();
        let negative = || Problem::tensor(name, format!("has shape {dimensions:?}"));
        let external = external.then_some(place);
        Ok(Self { name, shape: shape.ok_or_else(negative)?, element, raw, external, listed })
    }

    fn array(self, name: &str, budget: &mut Budget, folder: &mut Folder<'_>) -> Result<Array, Problem> {
        let Self { shape, element, raw, external, listed, .. } = self;
        if let Some(place) = external {
            folder.admit(name, &place, budget)?;
            let needed = budget.admit(name, &shape)?.saturating_mul(element.size());
            let values = element.decode(&folder.read(name, &place, needed as u64)?);
            return Ok(Array::new(shape, values));
        }
        let length = budget.admit(name, &shape)?;
        let found = raw.map_or(listed.len(), |raw| raw.len() / element.size());
        let whole = raw.is_none_or(|raw| raw.len() % element.size() == 0);
        if found != length || !whole {
            let reason = format!("shape {shape:?} with {found} values");
            return Err(Problem::tensor(name, shown(&reason)));
        }
        // Sixteen-bit numbers in `int32_data` are bit patterns; no exporter writes weights so.
        if raw.is_none() && matches!(element, Element::F16 | Element::BF16) && length > 0 {
            return Err(Problem::tensor(name, "lists 16-bit numbers, expected raw data"));
        }
        let values = raw.map_or(listed, |raw| element.decode(raw));
        Ok(Array::new(shape, values))
    }
}
