//! The walk from the classifier back to the image.

use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Archive, Node};

use crate::plan::{BlockPlan, Plan, PoolBranch, StemPlan};
use crate::weights::import::error::{ImportError, unsupported};

/// Operators that hand on their first input, changed in a way that no weights describe.
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

/// A convolution and what follows it up to the non-linearity.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Unit<'a> {
    pub(super) conv: Option<&'a Node>,
    pub(super) norm: Option<&'a Node>,
    /// Caffe's `Scale` layer: constants multiplied and added after the normalisation.
    pub(super) scale: Option<&'a str>,
    pub(super) shift: Option<&'a str>,
}

/// What lies between a tensor and the image: tensors with the convolutions and pools passed so far.
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
        (
            units.map(|(_, unit)| *unit).collect(),
            pools.map(|(_, pool)| *pool).collect(),
        )
    }
}

/// The nodes of a file, by what they put out.
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
        let outputs = |node: &'a Node| {
            node.outputs
                .iter()
                .map(move |output| (output.as_str(), node))
        };
        let producers = archive.graph.iter().flat_map(outputs).collect();
        Self { archive, producers }
    }

    /// The tensor stored for `name`, behind changes of its shape.
    pub(super) fn constant(&self, mut name: &'a str) -> Option<&'a str> {
        loop {
            if let Some((name, _)) = self.archive.tensors.get_key_value(name) {
                return Some(name);
            }
            let node = self.producers.get(name)?;
            let reshapes = ["Unsqueeze", "Reshape", "Squeeze", "Identity"];
            name = reshapes
                .contains(&node.operator.as_str())
                .then(|| node.inputs.first())??;
        }
    }

    /// Goes from `tensor` back to a `Concat` or to the image.
    fn back(&self, tensor: &'a str) -> Result<Path<'a>, ImportError> {
        let (mut path, mut at, mut unit) = (Path::default(), tensor, Unit::default());
        while let Some(node) = self.producers.get(at).copied() {
            if path.tensors.len() > self.archive.graph.len() {
                return Err(unsupported("the graph runs in a circle".to_owned()));
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
                    path.units.push((
                        passed,
                        Unit {
                            conv: Some(node),
                            ..unit
                        },
                    ));
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
                            return Err(unsupported(format!("`{}` joins two branches", node.name)));
                        }
                    };
                    let place = match node.operator.as_str() {
                        "Mul" => &mut unit.scale,
                        _ => &mut unit.shift,
                    };
                    if place.replace(constant).is_some() {
                        return Err(unsupported(format!("`{}` scales twice", node.name)));
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
                    return Err(unsupported(format!(
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
            _ => Err(unsupported(
                "a normalisation without a convolution before it".to_owned(),
            )),
        }
    }

    pub(super) fn network(&self, plan: Plan) -> Result<Network<'a>, ImportError> {
        let nodes = self.archive.graph.iter();
        let mut last = nodes.filter(|node| ["Gemm", "MatMul"].contains(&node.operator.as_str()));
        let (Some(classifier), None) = (last.next(), last.next()) else {
            return Err(unsupported(
                "expected exactly one fully connected layer (Gemm or MatMul)".to_owned(),
            ));
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
            return Err(unsupported(
                "a convolution behind the last block".to_owned(),
            ));
        }
        for block in plan.blocks().iter().rev() {
            path = self.block(block, &path, &mut network)?;
        }
        if path.concat.is_some() {
            let count = plan.blocks().len();
            return Err(unsupported(format!(
                "more than {count} blocks that end in a Concat"
            )));
        }
        let names: &[&str] = match plan.stem() {
            StemPlan::ImageNet(_) => &["conv2", "conv2_reduce", "conv1", "depthwise"],
            StemPlan::Small(_) => &["conv1"],
        };
        let (units, pools) = path.before("");
        if units.len() > names.len() {
            return Err(unsupported(format!(
                "{} convolutions before block 3a",
                units.len()
            )));
        }
        let named = units.iter().rev().zip(names);
        let named = named.map(|(unit, name)| (format!("stem.{name}"), *unit));
        network.units.extend(named);
        network.units.reverse();
        network.stem_pools = pools;
        Ok(network)
    }

    /// The block whose `Concat` is at the end of `path`; returns the path from its input on.
    fn block(
        &self,
        plan: &BlockPlan,
        path: &Path<'a>,
        network: &mut Network<'a>,
    ) -> Result<Path<'a>, ImportError> {
        let name = plan.name;
        let concat = path
            .concat
            .ok_or_else(|| unsupported(format!("no Concat that ends block {name}")))?;
        let inputs = concat.inputs.iter();
        let paths = inputs
            .map(|input| self.back(input))
            .collect::<Result<Vec<_>, _>>()?;
        let (first, rest) = paths
            .split_first()
            .ok_or_else(|| unsupported(format!("block {name} is empty")))?;
        let passed = rest.iter().map(|path| path.tensors.iter().collect());
        let passed: Vec<BTreeSet<_>> = passed.collect();
        let mut tensors = first.tensors.iter();
        let shared = tensors.find(|tensor| passed.iter().all(|path| path.contains(tensor)));
        let input = *shared
            .ok_or_else(|| unsupported(format!("the branches of block {name} share no input")))?;
        let branches = branches(plan);
        if paths.len() != branches.len() {
            let reason = format!(
                "block {name} has {} branches, expected {}",
                paths.len(),
                branches.len()
            );
            return Err(unsupported(reason));
        }
        for ((position, path), layers) in paths.iter().enumerate().zip(&branches).rev() {
            let (units, pools) = path.before(input);
            if units.len() != layers.len() {
                return Err(unsupported(format!(
                    "branch {} of block {name} has {} convolutions, expected {}",
                    position + 1,
                    units.len(),
                    layers.len()
                )));
            }
            for pool in pools {
                let average = pool.operator == "AveragePool";
                match average {
                    true => network.average_pools.push(pool),
                    false if plan.stride == 2 => network.block_pools.push(pool),
                    false => {}
                }
            }
            let named = layers.iter().zip(&units).rev();
            network
                .units
                .extend(named.map(|(layer, unit)| (format!("{name}.{layer}"), *unit)));
        }
        self.back(input)
    }
}

/// Our names of a block's convolutions, branch by branch.
fn branches(plan: &BlockPlan) -> Vec<Vec<&'static str>> {
    let present = |layers: &[(&'static str, usize)]| {
        let present = layers.iter().filter(|(_, channels)| *channels > 0);
        present.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let (one, double) = (plan.conv_1x1, plan.conv_double);
    let mut branches = vec![
        present(&[("conv_1x1", one)]),
        present(&[("reduce_3x3", plan.reduce_3x3), ("conv_3x3", plan.conv_3x3)]),
        present(&[
            ("reduce_double", plan.reduce_double),
            ("conv_double_1", double),
            ("conv_double_2", double),
        ]),
    ];
    branches.retain(|layers| !layers.is_empty());
    match plan.pool {
        PoolBranch::Average(_) | PoolBranch::Max(_) => branches.push(vec!["pool_projection"]),
        PoolBranch::MaxPassThrough => branches.push(Vec::new()),
        PoolBranch::Absent => {}
    }
    branches
}
