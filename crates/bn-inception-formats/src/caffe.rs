//! Caffe models: layers with their blobs.
//!
//! The blobs of layer `NAME` become the tensors `NAME.0`, `NAME.1`, …; their meaning depends on the type of the layer,
//! which is in [`Archive::graph`]. Field numbers are those of `caffe/proto/caffe.proto`.

use std::collections::BTreeMap;

use crate::archive::{Archive, Node};
use crate::array::{Array, Budget};
use crate::error::Problem;
use crate::format::Format;
use crate::limits::{MAX_NAME, MAX_NODES, MAX_RANK};
use crate::wire::fields;

/// Maximum number of blobs of a layer; batch normalisation has up to five.
const MAX_BLOBS: usize = 16;

/// Field numbers of one version of the layer message.
struct Layout {
    name: u64,
    kind: u64,
    bottom: u64,
    top: u64,
    blobs: u64,
}

/// `LayerParameter`, field 100 of the network.
const LAYER: Layout = Layout { name: 1, kind: 2, bottom: 3, top: 4, blobs: 7 };

/// `V1LayerParameter`, field 2 of the network.
const LAYER_V1: Layout = Layout { name: 4, kind: 5, bottom: 2, top: 3, blobs: 6 };

/// Names of the `V1LayerParameter.LayerType`s of this network.
const KINDS_V1: [(i64, &str); 9] = [
    (3, "Concat"),
    (4, "Convolution"),
    (5, "Data"),
    (6, "Dropout"),
    (14, "InnerProduct"),
    (17, "Pooling"),
    (18, "ReLU"),
    (20, "Softmax"),
    (21, "SoftmaxWithLoss"),
];

pub(crate) fn read(bytes: &[u8]) -> Result<Archive, Problem> {
    let mut archive = Archive::of_tensors(Format::Caffe, BTreeMap::new());
    let mut budget = Budget::new(bytes.len());
    for field in fields(bytes) {
        match field? {
            (2, value) => layer(&mut archive, &mut budget, value.bytes()?, &LAYER_V1)?,
            (100, value) => layer(&mut archive, &mut budget, value.bytes()?, &LAYER)?,
            _ => {}
        }
        Problem::limit("number of layers", archive.graph.len(), MAX_NODES)?;
    }
    if archive.tensors.is_empty() {
        return Err(Problem::malformed("no layer with weights"));
    }
    Ok(archive)
}

fn layer(archive: &mut Archive, budget: &mut Budget, message: &[u8], layout: &Layout) -> Result<(), Problem> {
    let mut node = Node::default();
    let mut blobs = Vec::new();
    for field in fields(message) {
        let (number, value) = field?;
        if number == layout.name {
            node.name = name(value.text()?)?;
        } else if number == layout.kind && layout.kind == LAYER_V1.kind {
            let kind = value.integer()?;
            let known = KINDS_V1.iter().find(|(number, _)| *number == kind);
            node.operator = known.map_or_else(|| format!("V1 type {kind}"), |(_, name)| (*name).to_owned());
        } else if number == layout.kind {
            node.operator = name(value.text()?)?;
        } else if number == layout.bottom {
            node.inputs.push(name(value.text()?)?);
        } else if number == layout.top {
            node.outputs.push(name(value.text()?)?);
        } else if number == layout.blobs {
            blobs.push(value.bytes()?);
        }
        Problem::limit("number of a layer's blobs", blobs.len(), MAX_BLOBS)?;
        Problem::limit("number of a layer's inputs", node.inputs.len(), MAX_NODES)?;
        Problem::limit("number of a layer's outputs", node.outputs.len(), MAX_NODES)?;
    }
    for (index, message) in blobs.into_iter().enumerate() {
        let key = format!("{}.{index}", node.name);
        let array = blob(&key, message, budget)?;
        if archive.tensors.insert(key.clone(), array).is_some() {
            return Err(Problem::tensor(&key, "occurs twice: two layers have the same name"));
        }
    }
    archive.graph.push(node);
    Ok(())
}

fn name(text: &str) -> Result<String, Problem> {
    Problem::limit("length of a name", text.len(), MAX_NAME)?;
    Ok(text.to_owned())
}

/// A `BlobProto`.
fn blob(key: &str, message: &[u8], budget: &mut Budget) -> Result<Array, Problem> {
    let (mut dimensions, mut legacy, mut values) = (None, [None; 4], Vec::new());
    for field in fields(message) {
        match field? {
            // num, channels, height, width
            (number @ 1..=4, value) => legacy[number as usize - 1] = Some(value.integer()?),
            (5, value) => value.floats(&mut values)?,
            (7, value) => {
                let mut shape = Vec::new();
                for field in fields(value.bytes()?) {
                    if let (1, value) = field? {
                        value.integers(&mut shape)?;
                    }
                    Problem::limit("rank of a blob", shape.len(), MAX_RANK)?;
                }
                dimensions = Some(shape);
            }
            (8, value) => value.doubles(&mut values)?,
            _ => {}
        }
    }
    let dimensions = dimensions.unwrap_or_else(|| legacy.into_iter().flatten().collect());
    let sizes = dimensions.iter().map(|d| usize::try_from(*d).ok());
    let negative = || Problem::tensor(key, format!("has shape {dimensions:?}"));
    let shape = sizes.collect::<Option<Vec<_>>>().ok_or_else(negative)?;
    let length = budget.admit(key, &shape)?;
    if values.len() != length {
        let reason = format!("shape {shape:?} with {} values", values.len());
        return Err(Problem::tensor(key, reason));
    }
    Ok(Array::new(shape, values))
}
