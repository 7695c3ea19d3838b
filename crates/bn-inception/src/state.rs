//! A model's tensors by name.
//!
//! Names are paths through the network with the paper's block names (`stem.conv1.weight`, `3a.reduce_3x3.norm.gamma`,
//! `5b.pool_projection.norm.running_var`, `classifier.bias`). They are the same in every process, unlike Burn's
//! parameter ids, and every file this project writes uses them.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use fnv::FnvHasher;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::config::Activation;
use crate::layers::TensorRole;
use crate::plan::BLOCK_NAMES;

/// A model's parameters and running statistics by name, `f32`.
pub type State = BTreeMap<String, TensorData>;

/// Position of a traversal of a [`Model`](crate::Model), as the name of the tensor it is at. For implementations of
/// [`ModuleVisitor`] and [`ModuleMapper`]: call [`enter`](Self::enter) and [`exit`](Self::exit) from `enter_module` and
/// `exit_module`.
#[derive(Debug, Clone, Default)]
pub struct TensorPath(Vec<String>);

impl TensorPath {
    /// Enters the module called `name`.
    pub fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    /// Leaves the current module.
    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// Name of the tensor the traversal is at.
    pub fn name(&self) -> String {
        match self.0.as_slice() {
            [blocks, index, rest @ ..] if blocks == "blocks" => {
                let position = index.parse::<usize>().ok();
                let block = position.and_then(|position| BLOCK_NAMES.get(position));
                let name = block.copied().unwrap_or(index.as_str());
                format!("{name}.{}", rest.join("."))
            }
            path => path.join("."),
        }
    }
}

/// Mismatch of a [`State`] and a model. Names are sorted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The model has tensors that the state lacks, or vice versa.
    #[error("tensors do not match the model: {}", sentence([list("missing", .missing), list("unexpected", .unexpected)]))]
    Names {
        /// Names in the model but not in the state.
        missing: Vec<String>,
        /// Names in the state but not in the model.
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

/// Maximum number of names in a message.
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

/// The non-empty ones of `parts` as one sentence.
pub(crate) fn sentence<const N: usize>(parts: [String; N]) -> String {
    let said = parts.into_iter().filter(|part| !part.is_empty());
    said.collect::<Vec<_>>().join("; ")
}

#[derive(Default)]
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
pub(crate) fn collect(model: &impl Module) -> State {
    let mut collect = Collect::default();
    model.visit(&mut collect);
    collect.state
}

/// The tensors of a module by name, each in one dimension, without gradients and without a copy.
pub(crate) struct Flatten<'a> {
    pub(crate) path: TensorPath,
    pub(crate) found: &'a mut Vec<(String, Tensor<1>)>,
}

impl ModuleVisitor for Flatten<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val().without_autodiff();
        let elements = tensor.shape().num_elements();
        self.found.push((self.path.name(), tensor.reshape([elements])));
    }
}

/// Adds the tensors of the part of a model that is called `name` to `found`.
pub(crate) fn flatten(part: &impl Module, name: &str, found: &mut Vec<(String, Tensor<1>)>) {
    let mut path = TensorPath::default();
    path.enter(name);
    part.visit(&mut Flatten { path, found });
}

/// Replaces a model's tensors by the data that a function returns for their names and shapes. Trainable tensors stay
/// trainable, frozen ones frozen.
struct Replace<F> {
    path: TensorPath,
    data: F,
}

impl<F: FnMut(&str, Shape) -> Option<TensorData>> ModuleMapper for Replace<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = (self.data)(&self.path.name(), param.lazy_shape()) else {
            return param;
        };
        let id = param.id;
        let tensor = Tensor::from_data(data, &param.lazy_device());
        param.transform_for_load(tensor, id)
    }
}

/// `model` with every tensor replaced by the one of the same name in `state`, which [`check`] has accepted.
pub(crate) fn fill<M: Module>(model: M, mut state: State) -> M {
    model.map(&mut Replace { path: TensorPath::default(), data: |name: &str, _: Shape| state.remove(name) })
}

/// Checks that `state` has exactly the tensors of `shapes`
/// ([`BnInceptionConfig::tensors`](crate::BnInceptionConfig::tensors)), as `f32`.
///
/// # Errors
/// [`StateError`] with every name that is missing or unexpected, or the first tensor of another shape or element type.
pub(crate) fn check(shapes: &BTreeMap<String, Vec<usize>>, state: &State) -> Result<(), StateError> {
    let missing: Vec<_> = shapes.keys().filter(|name| !state.contains_key(*name)).cloned().collect();
    let unexpected: Vec<_> = state.keys().filter(|name| !shapes.contains_key(*name)).cloned().collect();
    if !missing.is_empty() || !unexpected.is_empty() {
        return Err(StateError::Names { missing, unexpected });
    }
    for ((name, expected), data) in shapes.iter().zip(state.values()) {
        let (name, expected) = (name.clone(), expected.clone());
        if data.dtype() != DType::F32 {
            let found = data.dtype();
            return Err(StateError::Kind { name, found });
        }
        let found = data.shape().to_vec();
        if found != expected {
            return Err(StateError::Shape { name, expected, found });
        }
    }
    Ok(())
}

/// Draws the weights of a model whose names are `wanted`, as by [`drawn`].
pub(crate) fn draw<M: Module>(model: M, activation: Activation, seed: u64, wanted: impl Fn(&str) -> bool) -> M {
    let data = |name: &str, shape: Shape| {
        let is_drawn = TensorRole::of(name) == TensorRole::Weight && wanted(name);
        is_drawn.then(|| drawn(name, &shape, activation, seed))
    };
    model.map(&mut Replace { path: TensorPath::default(), data })
}

/// A newly drawn weight: He et al. (2015) before a ReLU, variance 1/fan-in otherwise. Each tensor has a random stream
/// of its own, so that adding a layer changes no other layer's initial weights.
pub(crate) fn drawn(name: &str, dims: &[usize], activation: Activation, seed: u64) -> TensorData {
    let fan_in: usize = dims.iter().skip(1).product();
    let gain = match activation {
        Activation::Relu if name != "classifier.weight" => 2.0,
        _ => 1.0,
    };
    let deviation = (gain / fan_in as f64).sqrt() as f32;
    let mut stream = FnvHasher::default();
    stream.write(name.as_bytes());
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ stream.finish());
    let values: Vec<f32> = (0..dims.iter().product())
        .map(|_| deviation * Distribution::<f32>::sample(&StandardNormal, &mut random))
        .collect();
    TensorData::new(values, dims.to_vec())
}
