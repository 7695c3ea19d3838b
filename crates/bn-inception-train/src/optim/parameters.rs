//! A network's values as flat tensors by name.
//!
//! Names are those of [`tensors`](bn_inception::BnInceptionConfig::tensors) (`3a.conv_1x1.weight`), the same in every
//! process. Burn's own `ParamId`s are drawn at random when a module is built, so state kept under them could not be
//! carried over to a resumed run. The tensors stay on their device: nothing here copies to the host.

use std::collections::BTreeMap;

use bn_inception::{Model, TensorPath};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

/// Tensors flattened to one dimension, by name, in the order of their names.
///
/// None of them takes part in automatic differentiation.
pub type NamedTensors = BTreeMap<String, Tensor<1>>;

/// Every floating-point value of `model`, parameters and running statistics alike.
#[must_use]
pub fn values(model: &Model) -> NamedTensors {
    collect(model, None)
}

/// The gradients of `model`'s parameters; parameters without one (frozen ones) are left out.
#[must_use]
pub fn gradients(model: &Model, gradients: Gradients) -> NamedTensors {
    collect(model, Some(gradients))
}

fn collect(model: &Model, gradients: Option<Gradients>) -> NamedTensors {
    let mut visitor = Collect { path: TensorPath::default(), found: NamedTensors::new(), gradients };
    model.visit(&mut visitor);
    visitor.found
}

/// `model` with every value replaced for which `change` returns another one; it is called with each value's name and
/// the value itself. Running statistics are shared between clones of a model, so clones see the new ones too.
///
/// A returned value must have as many elements as the one it replaces.
#[must_use]
pub fn update(model: Model, change: impl FnMut(&str, Tensor<1>) -> Option<Tensor<1>>) -> Model {
    let path = TensorPath::default();
    model.map(&mut Update { path, change })
}

/// `model` with every value replaced that `new` has by the same name; the others stay. See [`update`].
#[must_use]
pub fn replace(model: Model, new: &NamedTensors) -> Model {
    update(model, |name, _| new.get(name).cloned())
}

struct Collect {
    path: TensorPath,
    found: NamedTensors,
    gradients: Option<Gradients>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match &mut self.gradients {
            None => Some(param.val().without_autodiff()),
            Some(gradients) if param.is_require_grad() => param.val().grad_remove(gradients),
            Some(_) => None,
        };
        if let Some(tensor) = tensor {
            self.found.insert(self.path.name(), flat(tensor));
        }
    }
}

struct Update<F> {
    path: TensorPath,
    change: F,
}

impl<F: FnMut(&str, Tensor<1>) -> Option<Tensor<1>>> ModuleMapper for Update<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = flat(param.val().without_autodiff());
        let Some(new) = (self.change)(&self.path.name(), value) else {
            return param;
        };
        let (id, old, mapper) = param.consume();
        let tensor = new.reshape(old.shape());
        // The new value enters the model as a fresh leaf: nothing of the step that made it is kept, so the graph cannot
        // grow from one step to the next.
        let tensor = if old.is_autodiff() { tensor.autodiff().set_require_grad(old.is_require_grad()) } else { tensor };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.reshape([elements])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_inception::Preset;
    use burn::tensor::Device;

    fn model(device: &Device) -> Model {
        let config = Preset::Small.config().with_width(0.05).with_classes(3);
        config.init(device).unwrap()
    }

    fn host(tensor: &Tensor<1>) -> Vec<f32> {
        tensor.to_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn values_are_those_of_the_state() {
        let model = model(&Device::flex());
        let state = model.state();
        let values = values(&model);
        assert!(values.keys().eq(state.keys()));
        for (name, value) in &values {
            assert_eq!(host(value), state[name].try_to_vec::<f32>().unwrap(), "{name}");
        }
    }

    #[test]
    fn replacing_keeps_what_is_not_named_and_stays_trainable() {
        let device = Device::flex().autodiff();
        let before = model(&device);
        let old = values(&before);
        let ones = || old["classifier.bias"].ones_like();
        let new = NamedTensors::from([("classifier.bias".to_owned(), ones()), ("3a.unknown".to_owned(), ones())]);
        let mut seen = 0;
        let after = update(before, |name, _| {
            seen += usize::from(new.contains_key(name));
            new.get(name).cloned()
        });
        assert_eq!(seen, 1, "a name that has no place is not asked for");
        let now = values(&after);
        assert_eq!(host(&now["classifier.bias"]), [1.0; 3]);
        assert_eq!(host(&now["classifier.weight"]), host(&old["classifier.weight"]));

        let loss = after.forward(Tensor::<4>::ones([2, 3, 28, 28], &device)).sum();
        let grads = gradients(&after, loss.backward());
        assert_eq!(host(&grads["classifier.bias"]), [2.0; 3]);
        assert!(!grads.keys().any(|name| name.ends_with("running_mean")));
    }
}
