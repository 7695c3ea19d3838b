//! ONNX graphs: which tensor is which parameter, told by the graph alone.
//!
//! Names in ONNX files are the exporter's whim (`onnx::Conv_728`). The walk goes from the classifier back to the image and
//! knows a layer by its place: a block ends in a `Concat`, whose inputs are the branches in the order 1x1, 3x3,
//! double 3x3, pool. What the graph says about itself, ε, pools, folded or not, replaces what the caller's
//! configuration says.

use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Archive, Array, Node};

use crate::config::{BnInceptionConfig, MaxPooling, Normalization};
use crate::import::ImportError;
use crate::plan::{BlockPlan, Plan, PoolBranch, StemPlan};

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

/// A convolution and what follows it up to the non-linearity.
#[derive(Debug, Default, Clone, Copy)]
struct Unit<'a> {
    conv: Option<&'a Node>,
    norm: Option<&'a Node>,
    /// Caffe's `Scale` layer: constants multiplied and added after the normalisation.
    scale: Option<&'a str>,
    shift: Option<&'a str>,
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

/// The tensors of an ONNX file by our names, with the file's names, and what the graph says about the network.
pub(super) struct Mapped {
    pub(super) tensors: BTreeMap<String, Array>,
    /// Our names → the file's.
    pub(super) origins: BTreeMap<String, String>,
    pub(super) config: BnInceptionConfig,
}

/// Maps the tensors of `archive`, an ONNX model of the network that `config` describes.
pub(super) fn map(archive: &Archive, config: &BnInceptionConfig) -> Result<Mapped, ImportError> {
    let graph = Graph::new(archive);
    let network = graph.network(config.plan)?;
    let mut mapped = Mapped {
        tensors: BTreeMap::new(),
        origins: BTreeMap::new(),
        config: described(config, &network)?,
    };
    let mut used = BTreeSet::new();
    for (name, unit) in &network.units {
        for (part, array, origin) in graph.tensors_of(unit, &mut used)? {
            mapped.insert(format!("{name}.{part}"), array, origin);
        }
    }
    for (part, array, origin) in graph.classifier(network.classifier, &mut used)? {
        mapped.insert(format!("classifier.{part}"), array, origin);
    }
    for (name, array) in &archive.tensors {
        if !used.contains(name.as_str()) && !graph.is_structural(name) {
            mapped.insert(name.clone(), array.clone(), name);
        }
    }
    Ok(mapped)
}

impl Mapped {
    fn insert(&mut self, name: String, array: Array, origin: &str) {
        self.origins.insert(name.clone(), origin.to_owned());
        self.tensors.insert(name, array);
    }
}

/// The configuration with everything that the graph says itself.
fn described(
    config: &BnInceptionConfig,
    network: &Network<'_>,
) -> Result<BnInceptionConfig, ImportError> {
    let mut config = config.clone();
    let bare = network.units.iter().filter(|(_, unit)| unit.norm.is_none());
    let bare: Vec<_> = bare.map(|(name, _)| name.as_str()).collect();
    if bare.len() == network.units.len() {
        config.normalization = Normalization::Folded;
    } else if let (Normalization::Batch { momentum, .. }, Some(epsilon)) =
        (config.normalization, network.epsilon())
    {
        config.normalization = Normalization::Batch {
            epsilon,
            momentum,
            scale: true,
        };
    }
    if let Some(include) = network.average_includes_padding() {
        config.average_includes_padding = include;
    }
    for (pooling, pools) in [
        (&mut config.stem_pooling, &network.stem_pools),
        (&mut config.block_pooling, &network.block_pools),
    ] {
        for pool in pools {
            *pooling = max_pooling(pool)?;
        }
    }
    Ok(config)
}

fn unsupported(reason: String) -> ImportError {
    ImportError::Graph { reason }
}

/// Where the windows of a 3x3/2 max pool lie. Padding one pixel behind and rounding up put them in the same
/// places on even sizes, and those on odd ones only add an all-padding window, which the formats forbid.
fn max_pooling(pool: &Node) -> Result<MaxPooling, ImportError> {
    let ceil = pool
        .integers
        .get("ceil_mode")
        .is_some_and(|mode| mode == &[1]);
    let pads = pool.integers.get("pads").map_or(&[0; 4][..], Vec::as_slice);
    match (pool.texts.get("auto_pad").map(String::as_str), pads, ceil) {
        (Some("SAME_UPPER"), ..) => Ok(MaxPooling::Same),
        (None | Some("NOTSET" | "VALID"), [0, 0, 0, 0], true) => Ok(MaxPooling::Ceil),
        (None | Some("NOTSET"), [0, 0, 1, 1], _) => Ok(MaxPooling::Ceil),
        (None | Some("NOTSET" | "VALID"), [0, 0, 0, 0], false) => Ok(MaxPooling::Floor),
        (None | Some("NOTSET"), [1, 1, 1, 1], false) => Ok(MaxPooling::FloorPadded),
        (auto, pads, _) => Err(unsupported(format!(
            "max pool `{}` has pads {pads:?} and auto_pad {auto:?}, which no configuration has",
            pool.name
        ))),
    }
}

struct Graph<'a> {
    archive: &'a Archive,
    producers: BTreeMap<&'a str, &'a Node>,
}

struct Network<'a> {
    /// Our names, in forward order.
    units: Vec<(String, Unit<'a>)>,
    stem_pools: Vec<&'a Node>,
    /// Of stride 2.
    block_pools: Vec<&'a Node>,
    average_pools: Vec<&'a Node>,
    classifier: &'a Node,
}

impl Network<'_> {
    /// ε where all layers have the same.
    fn epsilon(&self) -> Option<f64> {
        let norms = self.units.iter().filter_map(|(_, unit)| unit.norm);
        let mut found = norms.map(|norm| norm.floats.get("epsilon").copied().unwrap_or(1e-5));
        let first = found.next()?;
        // The shortest decimal that is this f32: 1e-5, not 9.99999974e-6.
        found
            .all(|epsilon| epsilon == first)
            .then(|| first.to_string().parse().ok())?
    }

    fn average_includes_padding(&self) -> Option<bool> {
        let pool = self.average_pools.first()?;
        Some(
            pool.integers
                .get("count_include_pad")
                .is_some_and(|mode| mode == &[1]),
        )
    }
}

impl<'a> Graph<'a> {
    fn new(archive: &'a Archive) -> Self {
        let outputs = |node: &'a Node| {
            node.outputs
                .iter()
                .map(move |output| (output.as_str(), node))
        };
        let producers = archive.graph.iter().flat_map(outputs).collect();
        Self { archive, producers }
    }

    /// The tensor stored for `name`, behind changes of its shape.
    fn constant(&self, mut name: &'a str) -> Option<&'a str> {
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

    fn network(&self, plan: Plan) -> Result<Network<'a>, ImportError> {
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
        let mut tensors = first.tensors.iter();
        let shared = tensors.find(|tensor| rest.iter().all(|path| path.tensors.contains(tensor)));
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

    /// Parameters of a unit: (our name's last part, values, the file's name).
    fn tensors_of(
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
    fn classifier(
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

    /// Whether a tensor is a shape, an axis or the like.
    fn is_structural(&self, name: &str) -> bool {
        let mut nodes = self.archive.graph.iter();
        nodes.any(|node| {
            let reads = node.inputs.iter().any(|input| input == name);
            reads && STRUCTURAL.contains(&node.operator.as_str())
        })
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
