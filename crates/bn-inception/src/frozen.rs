//! The frozen part of a network that trains, folded for the CPU's inference engine.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bn_inception_kernels::infer::{Engine, Options};
use burn::tensor::{Tensor, TensorData};

use crate::config::{Activation, BnInceptionConfig, Normalization};
use crate::fold::{fold, values};
use crate::network::to_network;
use crate::ops;
use crate::state::State;

/// The frozen part of a network in the inference engine: made when it first runs, and made again when the tensors are no
/// longer those that it was made from. A clone starts with what its original has.
#[derive(Debug, Default)]
pub(crate) struct FrozenPart(Mutex<Option<Folded>>);

/// Tensors with their names, each in one dimension.
type Tensors = Vec<(String, Tensor<1>)>;

#[derive(Debug, Clone)]
struct Folded {
    /// The tensors before folding. Since they are held here, nothing writes to their memory.
    tensors: Arc<Tensors>,
    engine: Arc<Engine>,
}

impl Clone for FrozenPart {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

impl FrozenPart {
    /// Output of the network of `config` up to the end point `end_point`, whose `tensors` are those of this moment; `None`
    /// if the engine has no such layers, reads no such images or does not serve the device.
    ///
    /// # Panics
    /// If the images have other channels than the network reads, or are too small or too large; if `BN_INCEPTION_ISA` names an
    /// instruction set that the processor lacks.
    pub(crate) fn run(
        &self,
        images: &Tensor<4>,
        config: &BnInceptionConfig,
        end_point: &str,
        tensors: impl FnOnce() -> Tensors,
    ) -> Option<Tensor<4>> {
        let described = config.activation == Activation::Relu && config.normalization != Normalization::LocalResponse;
        if !described || config.image_channels() != 3 || !ops::serves(images) {
            return None;
        }
        let tensors = tensors();
        if !tensors.iter().all(|(_, tensor)| ops::serves(tensor)) {
            return None;
        }
        let engine = self.engine(config, end_point, tensors);
        Some(ops::infer(images.clone(), &engine, engine.end()))
    }

    /// The engine made last.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> Option<Arc<Engine>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|folded| folded.engine.clone())
    }

    /// The engine for these tensors.
    fn engine(&self, config: &BnInceptionConfig, end_point: &str, tensors: Tensors) -> Arc<Engine> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folded) = kept.as_mut().filter(|folded| same(&folded.tensors, &tensors)) {
            // If their memory is another, it need not be compared again.
            folded.tensors = Arc::new(tensors);
            return folded.engine.clone();
        }
        let engine = Arc::new(fold_through(config, end_point, &tensors));
        *kept = Some(Folded { tensors: Arc::new(tensors), engine: engine.clone() });
        engine
    }
}

fn same(a: &Tensors, b: &Tensors) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a_name, a), (b_name, b))| a_name == b_name && ops::same(a, b))
}

/// The engine for the network of `config` up to `end_point`, with as many threads as rayon's pool has, on which the rest of
/// the network runs.
fn fold_through(config: &BnInceptionConfig, end_point: &str, tensors: &Tensors) -> Engine {
    let shapes = config.tensors();
    let mut state = State::new();
    for (name, tensor) in tensors {
        let shape = shapes.get(name).cloned().expect("the configuration lists all tensors of its model");
        state.insert(name.clone(), TensorData::new(values(tensor.clone().into_data()), shape));
    }
    let (config, state) = fold(config, state);
    let layers = config.layers();
    let last = layers.iter().rposition(|layer| layer.block == end_point).expect("every network has all end points");
    let options = Options { threads: NonZeroUsize::new(rayon::current_num_threads()), ..Options::default() };
    Engine::new(to_network(&layers[..=last], state), &options).unwrap_or_else(|error| panic!("{error}"))
}
