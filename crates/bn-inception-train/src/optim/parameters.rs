//! A network's values and gradients as flat buffers, and back.
//!
//! Names are those of [`tensors`](bn_inception::BnInceptionConfig::tensors) (`3a.conv_1x1.weight`), the same in every
//! process. Burn's own `ParamId`s are drawn at random when a module is built, so state kept under them could not be
//! carried over to a resumed run.

use bn_inception::{Model, TensorPath};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

use super::flat::{Buffer, Flat, Slot};

/// Every floating-point value of `model`, parameters and running statistics alike.
#[must_use]
pub fn values(model: &Model) -> Flat {
    collect(model, None)
}

/// The gradients of `model`'s parameters; parameters without one (frozen ones) are left out.
#[must_use]
pub fn gradients(model: &Model, gradients: Gradients) -> Flat {
    collect(model, Some(gradients))
}

fn collect(model: &Model, gradients: Option<Gradients>) -> Flat {
    let mut visitor = Collect { path: TensorPath::default(), found: Vec::new(), gradients };
    model.visit(&mut visitor);
    Flat::new(visitor.found)
}

/// `model` with every value replaced that `new` has by the same name; the others stay. Running statistics are shared
/// between clones of a model, so clones see the new ones too.
///
/// # Panics
/// If a tensor of `new` has another number of elements than the value it replaces.
#[must_use]
pub fn replace(model: Model, new: &Flat) -> Model {
    replace_some(model, new, |_| true)
}

/// [`replace`] of the `wanted` values only.
pub(super) fn replace_some(model: Model, new: &Flat, wanted: impl Fn(&Slot) -> bool) -> Model {
    model.map(&mut Replace { path: TensorPath::default(), new, wanted })
}

struct Collect {
    path: TensorPath,
    found: Vec<(String, Tensor<1>)>,
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
            let elements = tensor.shape().num_elements();
            self.found.push((self.path.name(), tensor.reshape([elements])));
        }
    }
}

struct Replace<'a, F> {
    path: TensorPath,
    new: &'a Flat,
    wanted: F,
}

impl<F: Fn(&Slot) -> bool> ModuleMapper for Replace<'_, F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(slot) = self.new.slot(&self.path.name()).filter(|slot| (self.wanted)(slot)) else {
            return param;
        };
        let range = slot.range.clone();
        let (id, old, mapper) = param.consume();
        let tensor = match &self.new.buffer {
            Buffer::Host(values) => {
                Tensor::from_data(TensorData::new(values[range].to_vec(), old.shape()), &old.device().inner())
            }
            Buffer::Device(values) => Tensor::clone(values).slice([range]).reshape(old.shape()),
        };
        // The new value enters the model as a fresh leaf: nothing of the step that made it is kept, so the graph cannot
        // grow from one step to the next.
        let tensor = if old.is_autodiff() { tensor.autodiff().set_require_grad(old.is_require_grad()) } else { tensor };
        Param::from_mapped_value(id, tensor, mapper)
    }
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

    #[test]
    fn values_are_those_of_the_state() {
        let model = model(&Device::flex());
        let state = model.state();
        let values = values(&model).to_arrays().unwrap();
        assert!(values.keys().eq(state.keys()));
        for (name, value) in &values {
            assert_eq!(*value, state[name].try_to_vec::<f32>().unwrap(), "{name}");
        }
    }

    #[test]
    fn replacing_keeps_what_is_not_named_and_stays_trainable() {
        check_replacing(|_| ());
        check_replacing(|new| _ = new.buffer.on(&Device::flex()));
    }

    fn check_replacing(place: fn(&mut Flat)) {
        let device = Device::flex().autodiff();
        let before = model(&device);
        let old = values(&before).to_arrays().unwrap();
        let one = |name: &str, count| (name.to_owned(), Tensor::<1>::ones([count], &Device::flex()));
        let mut new = Flat::new(vec![one("classifier.bias", 3), one("3a.unknown", 1)]);
        place(&mut new);
        let after = replace(before, &new);
        let now = values(&after).to_arrays().unwrap();
        assert_eq!(now["classifier.bias"], [1.0; 3]);
        assert_eq!(now["classifier.weight"], old["classifier.weight"]);

        let loss = after.forward(Tensor::<4>::ones([2, 3, 28, 28], &device)).sum();
        let grads = gradients(&after, loss.backward()).to_arrays().unwrap();
        assert_eq!(grads["classifier.bias"], [2.0; 3]);
        assert!(!grads.keys().any(|name| name.ends_with("running_mean")));
    }
}
