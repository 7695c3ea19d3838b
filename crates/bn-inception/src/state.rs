//! A model's tensors by name.
//!
//! Names are paths through the network with the paper's block names (`stem.conv1.weight`, `3a.reduce_3x3.norm.gamma`,
//! `5b.pool_projection.norm.running_var`, `classifier.bias`). They are the same in every process, unlike Burn's
//! parameter ids, and every file this project writes uses them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::config::Activation;
use crate::model::Model;
use crate::plan::Plan;

/// A model's parameters and running statistics by name, `f32`.
pub type State = BTreeMap<String, TensorData>;

/// What a tensor of a model is, told by the last part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorRole {
    /// A filter or the classifier's matrix.
    Weight,
    /// A bias.
    Bias,
    /// γ or β of a batch normalisation.
    Norm,
    /// A running mean or variance: kept, not learned.
    Statistic,
}

impl TensorRole {
    /// The role of the tensor called `name`.
    pub fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("running_mean" | "running_var") => TensorRole::Statistic,
            Some("gamma" | "beta") => TensorRole::Norm,
            Some("bias") => TensorRole::Bias,
            _ => TensorRole::Weight,
        }
    }
}

/// Follows a module traversal and knows the name of the tensor it is at. For implementations of
/// [`ModuleVisitor`] and [`ModuleMapper`] over a [`Model`]: call [`enter`](Self::enter) and [`exit`](Self::exit)
/// from `enter_module` and `exit_module`.
#[derive(Debug, Clone)]
pub struct TensorPath {
    plan: Plan,
    path: Vec<String>,
}

impl TensorPath {
    /// A traversal about to start at the root of `model`.
    pub fn new(model: &Model) -> Self {
        Self {
            plan: model.config().plan,
            path: Vec::new(),
        }
    }

    /// Goes down into the module called `name`.
    pub fn enter(&mut self, name: &str) {
        self.path.push(name.to_owned());
    }

    /// Comes back up.
    pub fn exit(&mut self) {
        self.path.pop();
    }

    /// The name of the tensor the traversal is at.
    pub fn name(&self) -> String {
        match self.path.as_slice() {
            [blocks, index, rest @ ..] if blocks == "blocks" => {
                let block = index
                    .parse()
                    .ok()
                    .and_then(|i: usize| self.plan.blocks().get(i));
                let name = block.map_or(index.as_str(), |block| block.name);
                format!("{name}.{}", rest.join("."))
            }
            path => path.join("."),
        }
    }
}

/// Why a [`State`] does not fit a model. Names are sorted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The model has tensors that the state lacks, or the other way round.
    #[error("tensors do not match the model: {}", sentence([list("missing", .missing), list("unexpected", .unexpected)]))]
    Names {
        /// In the model but not in the state.
        missing: Vec<String>,
        /// In the state but not in the model.
        unexpected: Vec<String>,
    },
    /// A tensor of another shape than the model's.
    #[error("tensor `{name}` has shape {found:?}, the model expects {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The state's shape.
        found: Vec<usize>,
    },
    /// A tensor that is not `f32`.
    #[error("tensor `{name}` holds {found:?}, expected F32")]
    Kind {
        /// Name of the tensor.
        name: String,
        /// The state's element type.
        found: DType,
    },
}

/// At most this many names are spelled out in a message.
const LISTED_NAMES: usize = 4;

/// `label` and the first of `names`; nothing if there is none.
pub(crate) fn list(label: &str, names: &[String]) -> String {
    let shown = names.iter().take(LISTED_NAMES).cloned().collect::<Vec<_>>();
    let shown = shown.join(", ");
    match names.len() {
        0 => String::new(),
        count if count > LISTED_NAMES => {
            format!("{label} {shown} and {} more", count - LISTED_NAMES)
        }
        _ => format!("{label} {shown}"),
    }
}

/// Those of `parts` that say something, in one sentence.
pub(crate) fn sentence<const N: usize>(parts: [String; N]) -> String {
    let said = parts.into_iter().filter(|part| !part.is_empty());
    said.collect::<Vec<_>>().join("; ")
}

struct Collect {
    path: TensorPath,
    state: State,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data().convert::<f32>();
        self.state.insert(self.path.name(), data);
    }
}

/// Every parameter and running statistic of `model`, copied to the host.
pub fn state(model: &Model) -> State {
    let mut collect = Collect {
        path: TensorPath::new(model),
        state: State::new(),
    };
    model.visit(&mut collect);
    collect.state
}

struct Shapes {
    path: TensorPath,
    shapes: BTreeMap<String, Shape>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.shapes.insert(self.path.name(), param.lazy_shape());
    }
}

/// Name and shape of every parameter and running statistic of `model`.
pub fn shapes(model: &Model) -> BTreeMap<String, Shape> {
    let mut visitor = Shapes {
        path: TensorPath::new(model),
        shapes: BTreeMap::new(),
    };
    model.visit(&mut visitor);
    visitor.shapes
}

/// Number of learned values by block (`stem`, `3a` … `5b`, `classifier`).
pub(crate) fn parameters_by_block(model: &Model) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (name, shape) in shapes(model) {
        if TensorRole::of(&name) != TensorRole::Statistic {
            let block = name.split('.').next().unwrap_or_default();
            *counts.entry(block.to_owned()).or_default() += shape.num_elements();
        }
    }
    counts
}

/// Replaces every tensor of a model by what `draw` makes of its name and shape. What trains, trains on; what is
/// frozen stays frozen.
struct Replace<F> {
    path: TensorPath,
    draw: F,
}

impl<F: FnMut(&str, Shape) -> Option<TensorData>> ModuleMapper for Replace<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = (self.draw)(&self.path.name(), param.lazy_shape()) else {
            return param;
        };
        let id = param.id;
        let tensor = Tensor::from_data(data, &param.lazy_device());
        param.transform_for_load(tensor, id)
    }
}

/// `model` with every tensor replaced by the one of the same name in `state`. Running statistics are shared
/// between clones of a model, so clones see the new ones too; [`Module::valid`] makes an independent copy.
///
/// # Errors
/// [`StateError`] if names, shapes or element types do not match exactly; the model is then dropped unchanged.
pub fn load_state(model: Model, state: State) -> Result<Model, StateError> {
    let shapes = shapes(&model).into_iter();
    let shapes = shapes.map(|(name, shape)| (name, shape.to_vec()));
    check(&shapes.collect(), &state)?;
    Ok(fill(model, state))
}

/// `model` with every tensor replaced by the one of the same name in `state`, which [`check`] has accepted.
pub(crate) fn fill(model: Model, mut state: State) -> Model {
    let path = TensorPath::new(&model);
    let draw = |name: &str, _: Shape| state.remove(name);
    model.map(&mut Replace { path, draw })
}

impl crate::BnInceptionConfig {
    /// Name and shape of every parameter and running statistic.
    pub(crate) fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let shapes = shapes(&self.blank(&burn::tensor::Device::default()));
        let shapes = shapes.into_iter();
        shapes
            .map(|(name, shape)| (name, shape.to_vec()))
            .collect()
    }
}

pub(crate) fn check(shapes: &BTreeMap<String, Vec<usize>>, state: &State) -> Result<(), StateError> {
    let missing: Vec<_> = shapes
        .keys()
        .filter(|name| !state.contains_key(*name))
        .cloned()
        .collect();
    let unexpected: Vec<_> = state
        .keys()
        .filter(|name| !shapes.contains_key(*name))
        .cloned()
        .collect();
    if !missing.is_empty() || !unexpected.is_empty() {
        return Err(StateError::Names {
            missing,
            unexpected,
        });
    }
    for ((name, expected), data) in shapes.iter().zip(state.values()) {
        let (name, expected) = (name.clone(), expected.clone());
        if data.dtype() != DType::F32 {
            let found = data.dtype();
            return Err(StateError::Kind { name, found });
        }
        let found = data.shape().to_vec();
        if found != expected {
            return Err(StateError::Shape {
                name,
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// Draws those weights of a model whose names are `wanted`: He et al. (2015) in front of a ReLU, variance 1/fan-in
/// otherwise. Each tensor has a random stream of its own, so that adding a layer changes no other layer's start.
pub(crate) fn draw(
    model: Model,
    activation: Activation,
    seed: u64,
    wanted: impl Fn(&str) -> bool,
) -> Model {
    let path = TensorPath::new(&model);
    let draw = |name: &str, shape: Shape| {
        if TensorRole::of(name) != TensorRole::Weight || !wanted(name) {
            return None;
        }
        let dims = shape.to_vec();
        let fan_in: usize = dims.iter().skip(1).product();
        let gain = match activation {
            Activation::Relu if name != "classifier.weight" => 2.0,
            _ => 1.0,
        };
        let deviation = (gain / fan_in as f64).sqrt() as f32;
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
        let values: Vec<f32> = (0..shape.num_elements())
            .map(|_| deviation * Distribution::<f32>::sample(&StandardNormal, &mut random))
            .collect();
        Some(TensorData::new(values, dims))
    };
    model.map(&mut Replace { path, draw })
}

/// 64-bit FNV-1a, to turn a name into a random stream.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
