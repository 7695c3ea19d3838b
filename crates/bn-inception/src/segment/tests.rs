//! The CPU engine against Burn's own operations, in training.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use burn::module::{Module as _, ModuleVisitor, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Gradients, Tensor, TensorData, activation};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution, StandardNormal};

use crate::config::{Activation, Normalization, StridedPadding};
use crate::model::Model;
use crate::{BnInceptionConfig, Preset, ops};

/// Gradients of every parameter, in the order of the modules.
struct Collector<'a> {
    gradients: &'a Gradients,
    found: Vec<Option<Vec<f32>>>,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad(self.gradients);
        self.found.push(gradient.map(|gradient| gradient.into_data().try_into_vec().unwrap()));
    }
}

/// Negative log-likelihood of class `i % classes` for image `i`.
fn loss(logits: Tensor<2>) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    let likelihood = activation::log_softmax(logits, 1);
    let rows = (0..batch).map(|i| likelihood.clone().slice([i..i + 1, i % classes..i % classes + 1]).reshape([1]));
    -Tensor::cat(rows.collect(), 0).mean()
}

/// Results of a forward and a backward pass.
struct Pass {
    loss: f32,
    /// Gradients of the parameters.
    parameters: Vec<Option<Vec<f32>>>,
    /// Gradient of the images.
    images: Vec<f32>,
    /// The model's state after it.
    state: BTreeMap<String, Vec<f32>>,
}

fn pass(model: &Model, images: &Tensor<4>) -> Pass {
    let images = images.clone().autodiff().require_grad();
    let loss = loss(model.forward(images.clone()));
    let gradients = loss.backward();
    let mut collector = Collector { gradients: &gradients, found: Vec::new() };
    model.visit(&mut collector);
    let of_images = images.grad(&gradients).unwrap().into_data().try_into_vec().unwrap();
    let state = model.state().into_iter().map(|(name, data)| (name, data.try_into_vec().unwrap())).collect();
    Pass { loss: loss.into_scalar(), parameters: collector.found, images: of_images, state }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    (difference / b.iter().map(|&b| square(f64::from(b))).sum::<f64>().max(1e-20)).sqrt()
}

fn configurations() -> Vec<BnInceptionConfig> {
    let mut all: Vec<_> = Preset::ALL.into_iter().map(Preset::config).collect();
    let paper = Preset::Paper.config();
    all.push(paper.clone().with_normalization(Normalization::LocalResponse));
    all.push(paper.with_strided_padding(StridedPadding::Same));
    // Without normalisation the gradients of sigmoids vanish over the layers, and rounding is all that is left.
    let normalised = all.iter().filter(|config| config.normalization != Normalization::LocalResponse);
    let smooth: Vec<_> = normalised.map(|config| config.clone().with_activation(Activation::Sigmoid)).collect();
    all.extend(smooth);
    all.into_iter().map(|config| config.with_width(0.125).with_classes(7).with_dropout(0.0)).collect()
}

#[test]
fn gradients_are_those_of_burns_own_operations() {
    let device = Device::flex();
    for config in configurations() {
        let model = || config.init_seeded(&device.clone().autodiff(), 3).unwrap();
        let size = if config.smallest_input() == 8 { 28 } else { 99 };
        // Where rounding moves a value across zero, the gradient of a ReLU jumps: about one value in a million does, which
        // late layers with few values notice; a sigmoid has none, but thirty normalisations amplify rounding. The engine's own
        // tests compare with double precision.
        let bound = if config.activation == Activation::Relu { 1e-1 } else { 1e-2 };
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let dims = [8, 3, size, size - 2];
        let pixels: Vec<f32> = (0..dims.iter().product()).map(|_| StandardNormal.sample(&mut random)).collect();
        let images = Tensor::<4>::from_data(TensorData::new(pixels, dims), &device);
        let found = pass(&model(), &images);
        let expected = ops::without_engine(|| pass(&model(), &images));
        assert!((found.loss - expected.loss).abs() < 1e-4, "{config:?}: loss {} and {}", found.loss, expected.loss);
        for (i, (found, expected)) in found.parameters.iter().zip(&expected.parameters).enumerate() {
            assert_eq!(found.is_some(), expected.is_some(), "{config:?}: parameter {i}");
            if let (Some(found), Some(expected)) = (found, expected) {
                let error = distance(found, expected);
                assert!(error < bound, "{config:?}: parameter {i}: {error:e}");
            }
        }
        let error = distance(&found.images, &expected.images);
        assert!(error < bound, "{config:?}: images: {error:e}");
        for (name, expected) in &expected.state {
            let error = distance(&found.state[name], expected);
            assert!(error < 1e-4, "{config:?}: {name}: {error:e}");
        }
    }
}

/// Losses of 200 steps of SGD on noise whose mean depends on the class.
fn losses(device: &Device) -> Vec<f32> {
    let config = Preset::Small.config().with_width(0.1).with_classes(3);
    let mut model = config.init_seeded(&device.clone().autodiff(), 5).unwrap();
    let mut sgd = SgdConfig::new().init();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let dims = [6, 3, 16, 16];
    let mut losses = Vec::new();
    for _ in 0..200 {
        let noise = |i: usize| {
            let class = i / (3 * 16 * 16) % 3;
            let channel = i / (16 * 16) % 3;
            f32::from(u8::from(class == channel)) * 0.5
        };
        let pixels: Vec<f32> = (0..dims.iter().product())
            .map(|i| noise(i) + Distribution::<f32>::sample(&StandardNormal, &mut random))
            .collect();
        let images = Tensor::<4>::from_data(TensorData::new(pixels, dims), device).autodiff();
        let loss = loss(model.forward(images));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = sgd.step(0.05, model, gradients);
        losses.push(loss.into_scalar());
    }
    losses
}

#[test]
fn two_hundred_steps_end_where_those_of_burns_own_operations_do() {
    let device = Device::flex();
    let (found, expected) = (losses(&device), ops::without_engine(|| losses(&device)));
    assert!((found[0] - expected[0]).abs() < 1e-4, "{} and {}", found[0], expected[0]);
    let end = |losses: &[f32]| losses[150..].iter().sum::<f32>() / 50.0;
    let (found, expected) = (end(&found), end(&expected));
    // The losses of single batches at the end differ by more.
    assert!(expected < 0.5 && (found - expected).abs() < 0.1, "{found} and {expected}");
}
