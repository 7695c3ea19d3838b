//! The walk from the classifier back to the image.

use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Archive, Node};

use crate::config::{BnInceptionConfig, StemKind};
use crate::layers::{Layer, Operation};
use crate::weights::import::error::ImportError;

/// Operators that pass on their first input, changed in a way that no weights describe.
const PASSING: [&str; 13] = [
    "Relu",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "ReduceMean",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Softmax",
    "Dropout",
    "Identity",
    "LRN",
    "Cast",
];

/// A convolution and the operations after it, up to the non-linearity.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Unit<'a> {
    pub(super) conv: Option<&'a Node>,
    pub(super) norm: Option<&'a Node>,
    /// Caffe's `Scale` layer: constants multiplied and added after the normalisation.
    pub(super) scale: Option<&'a str>,
    pub(super) shift: Option<&'a str>,
}

/// The path from a tensor back to the image: the tensors, convolutions and pools passed.
#[derive(Debug, Default)]
struct Path<'a> {
    tensors: Vec<&'a str>,
    /// With the number of tensors passed before.
    units: Vec<(usize, Unit<'a>)>,
    pools: Vec<(usize, &'a Node)>,
    concat: Option<&'a Node>,
}

impl<'a> Path<'a> {
    /// The part before `tensor`, in forward order.
    fn before(&self, tensor: &str) -> (Vec<Unit<'a>>, Vec<&'a Node>) {
        let end = self.tensors.iter().position(|passed| *passed == tensor);
        let end = end.unwrap_or(self.tensors.len());
        let units = self.units.iter().rev().filter(|(at, _)| *at <= end);
        let pools = self.pools.iter().rev().filter(|(at, _)| *at <= end);
        (units.map(|(_, unit)| *unit).collect(), pools.map(|(_, pool)| *pool).collect())
    }
}

/// The nodes of a file, by their outputs.
pub(super) struct Graph<'a> {
    pub(super) archive: &'a Archive,
    producers: BTreeMap<&'a str, &'a Node>,
}

/// The network's parts, found in a graph.
pub(super) struct Network<'a> {
    /// Our names, in forward order.
    pub(super) units: Vec<(String, Unit<'a>)>,
    pub(super) stem_pools: Vec<&'a Node>,
    /// Of stride 2.
    pub(super) block_pools: Vec<&'a Node>,
    pub(super) average_pools: Vec<&'a Node>,
    pub(super) classifier: &'a Node,
}

impl<'a> Graph<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        let outputs = |node: &'a Node| node.outputs.iter().map(move |output| (output.as_str(), node));
        let producers = archive.graph.iter().flat_map(outputs).collect();
        Self { archive, producers }
    }

    /// The tensor stored as `name`, or the one that `name` is a reshape of.
    pub(super) fn constant(&self, mut name: &'a str) -> Option<&'a str> {
        loop {
            if let Some((name, _)) = self.archive.tensors.get_key_value(name) {
                return Some(name);
            }
            let node = self.producers.get(name)?;
            let reshapes = ["Unsqueeze", "Reshape", "Squeeze", "Identity"];
            name = reshapes.contains(&node.operator.as_str()).then(|| node.inputs.first())??;
        }
    }

    /// Walks from `tensor` back to a `Concat` or to the image.
    fn back(&self, tensor: &'a str) -> Result<Path<'a>, ImportError> {
        let (mut path, mut at, mut unit) = (Path::default(), tensor, Unit::default());
        while let Some(node) = self.producers.get(at).copied() {
            if path.tensors.len() > self.archive.graph.len() {
                return Err(ImportError::graph("the graph runs in a circle"));
            }
            path.tensors.push(at);
            let first = node.inputs.first().map_or("", String::as_str);
            let second = node.inputs.get(1).map_or("", String::as_str);
            at = match node.operator.as_str() {
                "Concat" => {
                    path.concat = Some(node);
                    break;
                }
                "Conv" => {
                    let passed = path.tensors.len();
                    path.units.push((passed, Unit { conv: Some(node), ..unit }));
                    unit = Unit::default();
                    first
                }
                "BatchNormalization" => {
                    unit.norm = Some(node);
                    first
                }
                "Mul" | "Add" => {
                    let (constant, next) = match (self.constant(first), self.constant(second)) {
                        (None, Some(constant)) => (constant, first),
                        (Some(constant), None) => (constant, second),
                        _ => {
                            return Err(ImportError::graph(format!("`{}` joins two branches", node.name)));
                        }
                    };
                    let place = match node.operator.as_str() {
                        "Mul" => &mut unit.scale,
                        _ => &mut unit.shift,
                    };
                    if place.replace(constant).is_some() {
                        return Err(ImportError::graph(format!("`{}` scales twice", node.name)));
                    }
                    next
                }
                operator if PASSING.contains(&operator) => {
                    if operator.ends_with("Pool") {
                        path.pools.push((path.tensors.len(), node));
                    }
                    first
                }
                operator => {
                    return Err(ImportError::graph(format!(
                        "operator {operator} (`{}`) is no part of this network",
                        node.name
                    )));
                }
            };
        }
        if path.concat.is_none() {
            path.tensors.push(at);
        }
        match (unit.norm, unit.scale, unit.shift) {
            (None, None, None) => Ok(path),
            _ => Err(ImportError::graph("a normalisation without a convolution before it")),
        }
    }

    /// The parts of the network that `config` describes. The kind of its stem follows from the graph.
    pub(super) fn network(&self, config: &BnInceptionConfig) -> Result<Network<'a>, ImportError> {
        let nodes = self.archive.graph.iter();
        let mut last = nodes.filter(|node| ["Gemm", "MatMul"].contains(&node.operator.as_str()));
        let (Some(classifier), None) = (last.next(), last.next()) else {
            return Err(ImportError::graph("expected exactly one fully connected layer (Gemm or MatMul)"));
        };
        let mut network = Network {
            units: Vec::new(),
            stem_pools: Vec::new(),
            block_pools: Vec::new(),
            average_pools: Vec::new(),
            classifier,
        };
        let mut path = self.back(classifier.inputs.first().map_or("", String::as_str))?;
        if !path.units.is_empty() && path.concat.is_some() {
            return Err(ImportError::graph("a convolution behind the last block"));
        }
        let layers = config.clone().with_stem(StemKind::Separable).layers();
        let is_block = |layer: &&Layer| layer.operation == Operation::Concatenation;
        for block in layers.iter().filter(is_block).rev() {
            path = self.block(&layers, block, &path, &mut network)?;
        }
        if path.concat.is_some() {
            let count = layers.iter().filter(is_block).count();
            return Err(ImportError::graph(format!("more than {count} blocks that end in a Concat")));
        }
        let names = layers.iter().rev();
        let names = names.filter(|layer| layer.block == "stem" && layer.convolution().is_some());
        let (units, pools) = path.before("");
        if units.len() > names.clone().count() {
            return Err(ImportError::graph(format!("{} convolutions before block 3a", units.len())));
        }
        let named = units.iter().rev().zip(names);
        let named = named.map(|(unit, layer)| (layer.name.clone(), *unit));
        network.units.extend(named);
        network.units.reverse();
        network.stem_pools = pools;
        Ok(network)
    }

    /// The block whose `Concat` is at the end of `path`; returns the path from its input on.
    fn block(
        &self,
        layers: &[Layer],
        block: &Layer,
        path: &Path<'a>,
        network: &mut Network<'a>,
    ) -> Result<Path<'a>, ImportError> {
        let name = block.block;
        let concat = path.concat.ok_or_else(|| ImportError::graph(format!("no Concat that ends block {name}")))?;
        let inputs = concat.inputs.iter();
        let paths = inputs.map(|input| self.back(input)).collect::<Result<Vec<_>, _>>()?;
        let (first, rest) = paths.split_first().ok_or_else(|| ImportError::graph(format!("block {name} is empty")))?;
        let passed = rest.iter().map(|path| path.tensors.iter().collect());
        let passed: Vec<BTreeSet<_>> = passed.collect();
        let mut tensors = first.tensors.iter();
        let shared = tensors.find(|tensor| passed.iter().all(|path| path.contains(tensor)));
        let input =
            *shared.ok_or_else(|| ImportError::graph(format!("the branches of block {name} share no input")))?;
        let branches = branches(layers, block);
        if paths.len() != branches.len() {
            let reason = format!("block {name} has {} branches, expected {}", paths.len(), branches.len());
            return Err(ImportError::graph(reason));
        }
        for ((position, path), branch) in paths.iter().enumerate().zip(&branches).rev() {
            let (units, pools) = path.before(input);
            if units.len() != branch.convolutions.len() {
                return Err(ImportError::graph(format!(
                    "branch {} of block {name} has {} convolutions, expected {}",
                    position + 1,
                    units.len(),
                    branch.convolutions.len()
                )));
            }
            for pool in pools {
                if pool.operator == "AveragePool" {
                    network.average_pools.push(pool);
                } else if branch.halves {
                    network.block_pools.push(pool);
                }
            }
            let named = branch.convolutions.iter().zip(&units).rev();
            network.units.extend(named.map(|(layer, unit)| ((*layer).to_owned(), *unit)));
        }
        self.back(input)
    }
}

/// One branch of a block.
struct Branch<'a> {
    /// Our names of its convolutions, in forward order.
    convolutions: Vec<&'a str>,
    /// True if it has a max pool of stride 2.
    halves: bool,
}

/// The branches that `block`, a concatenation, joins.
fn branches<'a>(layers: &'a [Layer], block: &Layer) -> Vec<Branch<'a>> {
    let branch = |end: &usize| {
        let end = &layers[*end];
        let mut branch = Branch { convolutions: Vec::new(), halves: false };
        let mut next = Some(end);
        while let Some(layer) = next.filter(|layer| layer.block == block.block) {
            if layer.convolution().is_some() {
                branch.convolutions.insert(0, layer.name.as_str());
            }
            branch.halves |= matches!(layer.operation, Operation::MaxPool { stride: 2, .. });
            next = layer.inputs.first().map(|input| &layers[*input]);
        }
        branch
    };
    block.inputs.iter().map(branch).collect()
}
