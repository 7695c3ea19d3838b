//! The frozen part of a network that trains, folded in the inference engine.
#![allow(clippy::unwrap_used)]

use burn::module::Param;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Tensor, TensorData};

use super::*;
use crate::config::{Activation, Normalization};
use crate::layers::TensorRole;
use crate::{Preset, ops};

fn images(dims: [usize; 4]) -> Tensor<4> {
    let wave = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
    let values: Vec<f32> = (0..dims.iter().product()).map(wave).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::flex())
}

/// A model with statistics, scales and shifts that are not those of a new one.
fn lively(config: &BnInceptionConfig, seed: u64) -> Model {
    let model = config.init_seeded(&Device::flex().autodiff(), seed).unwrap();
    let mut state = model.state();
    for (n, (name, data)) in state.iter_mut().enumerate() {
        if TensorRole::of(name) != TensorRole::Weight {
            let centre = if name.ends_with("gamma") || name.ends_with("running_var") { 1.0 } else { 0.0 };
            let wave = |i: usize| centre + 0.3 * (((i * 7 + n * 13) as u64 + seed) as f32 * 0.61).sin();
            let shape = data.shape().to_vec();
            *data = TensorData::new((0..shape[0]).map(wave).collect::<Vec<f32>>(), shape);
        }
    }
    model.load_state(state).unwrap()
}

fn small() -> BnInceptionConfig {
    Preset::Small.config().with_width(0.1).with_classes(5)
}

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
}

/// Output of the frozen part, in training.
fn output(model: &Model) -> Vec<u32> {
    bits(model.frozen_output(images([3, 3, 28, 28]), model.frozen))
}

/// Output of the frozen part of another model with the same values.
fn expected(model: &Model) -> Vec<u32> {
    let new = model.config().init(&Device::flex().autodiff()).unwrap();
    let mut new = new.load_state(model.state()).unwrap();
    new.frozen = model.frozen;
    output(&new)
}

fn step(model: Model) -> Model {
    let loss = model.forward(images([3, 3, 28, 28]).autodiff()).powi_scalar(2).mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    SgdConfig::new().init().step(0.1, model, gradients)
}

#[test]
fn it_computes_what_burns_own_operations_do() {
    let mut configs: Vec<_> = Preset::ALL.into_iter().map(Preset::config).collect();
    configs.push(Preset::Paper.config().with_normalization(Normalization::LocalResponse));
    configs.push(Preset::Paper.config().with_activation(Activation::Sigmoid));
    for config in configs {
        let config = config.with_width(0.125).with_classes(5).with_dropout(0.0);
        let served = config.activation == Activation::Relu && config.normalization != Normalization::LocalResponse;
        let x = images([3, 3, 53, 38]);
        for end_point in ["stem", "3a", "3c", "4e", "5b"] {
            let model = lively(&config, 3).freeze_through(end_point).unwrap();
            let found = model.frozen_output(x.clone(), model.frozen);
            assert_eq!(model.frozen_part.kept().is_some(), served, "{config:?}");
            let expected = ops::without_engine(|| model.frozen_output(x.clone(), model.frozen));
            let length = |tensor: Tensor<4>| tensor.powi_scalar(2).sum().sqrt().into_scalar::<f32>();
            let error = length(found - expected.clone()) / length(expected);
            assert!(error < 1e-5, "{config:?} {end_point}: {error:e}");

            let logits = model.forward(x.clone().autodiff());
            assert!(logits.is_autodiff());
            let logits = logits.without_autodiff();
            let expected = ops::without_engine(|| model.forward(x.clone().autodiff())).without_autodiff();
            let length = |tensor: Tensor<2>| tensor.powi_scalar(2).sum().sqrt().into_scalar::<f32>();
            let error = length(logits - expected.clone()) / length(expected);
            // Batch normalisation over few values amplifies rounding.
            assert!(error < 1e-2, "{config:?} {end_point}: logits {error:e}");
        }
    }
}

#[test]
fn it_is_folded_once_and_kept_through_training() {
    let mut model = lively(&small(), 4).freeze_through("4a").unwrap();
    model = step(model);
    let engine = model.frozen_part.kept().unwrap();
    let before = output(&model);
    for _ in 0..3 {
        model = step(model);
    }
    model = model.with_classes(9).unwrap();
    model = step(model);
    assert!(Arc::ptr_eq(&model.frozen_part.kept().unwrap(), &engine));
    assert_eq!(output(&model), before);
    // A clone starts with it; each then has its own.
    let other = model.clone();
    assert!(Arc::ptr_eq(&other.frozen_part.kept().unwrap(), &engine));
    let other = other.freeze_through("4c").unwrap();
    assert_eq!(output(&other), expected(&other));
    assert!(Arc::ptr_eq(&model.frozen_part.kept().unwrap(), &engine));
}

#[test]
fn it_follows_every_change_of_its_tensors() {
    let frozen = || {
        let model = lively(&small(), 5).freeze_through("3c").unwrap();
        output(&model);
        model
    };
    let check = |what: &str, model: &Model, before: &[u32]| {
        let found = output(model);
        assert!(found == expected(model), "{what}: it is not what its tensors say");
        assert!(found != before, "{what} changes nothing");
    };

    let model = frozen();
    let before = output(&model);
    check("another state", &model.load_state(lively(&small(), 6).state()).unwrap(), &before);

    // A single value of each kind.
    for name in ["stem.conv1.weight", "3a.conv_1x1.norm.beta", "3b.conv_3x3.norm.running_var", "3c.conv_3x3.bias"] {
        let model = frozen();
        let mut state = model.state();
        let shape = state[name].shape().to_vec();
        let mut values: Vec<f32> = state[name].iter().collect();
        values[0] += 0.5;
        state.insert(name.to_owned(), TensorData::new(values, shape));
        check(name, &model.load_state(state).unwrap(), &before);
    }

    let mut model = frozen();
    let weight = model.stem.conv1.weight.val().without_autodiff() * 0.5;
    model.stem.conv1.weight = Param::from_tensor(weight.autodiff());
    check("another parameter in its place", &model, &before);

    // Running statistics are shared between clones.
    let model = frozen();
    let clone = model.clone();
    drop(clone.load_state(lively(&small(), 7).state()).unwrap());
    check("statistics of a clone", &model, &before);

    check("a longer frozen part", &frozen().freeze_through("4a").unwrap(), &before);

    // Values that stay what they are change nothing, wherever they are.
    let model = frozen();
    let state = model.state();
    let model = model.load_state(state).unwrap();
    let engine = model.frozen_part.kept().unwrap();
    assert_eq!(output(&model), before);
    assert!(Arc::ptr_eq(&model.frozen_part.kept().unwrap(), &engine));
}
