use burn::module::Module as _;
use burn::tensor::{Device, Tensor, activation};

use super::*;
use crate::Preset;
use crate::config::{Activation, StridedPadding};
use crate::model::Model;
use crate::ops::{self, ConvGeometry, PoolGeometry};
use crate::state;
use crate::stem::local_response;

/// Inference with `model`, computed along its list of layers.
fn walk(model: &Model, images: Tensor<4>) -> Tensor<2> {
    let config = model.config();
    let state = model.state();
    let device = images.device();
    let get = |layer: &Layer, part: &str| state.get(&format!("{}.{part}", layer.name)).cloned();
    let vector = |layer: &Layer, part: &str| get(layer, part).map(|data| Tensor::<1>::from_data(data, &device));
    let layers = config.layers();
    let mut outputs: Vec<Tensor<4>> = Vec::new();
    for layer in &layers {
        let inputs: Vec<_> = layer.inputs.iter().map(|input| outputs[*input].clone()).collect();
        let x = inputs.first().unwrap_or(&images).clone();
        let [batch, _, height, width] = x.dims();
        let padding = [height, width].map(|size| layer.padding(size));
        let y = match layer.operation {
            Operation::Convolution(convolution) => {
                let weight = Tensor::from_data(get(layer, "weight").unwrap(), &device);
                let (stride, groups) = (convolution.stride, convolution.groups);
                let y = ops::conv2d(x, weight, ConvGeometry { stride, padding, groups });
                let relu = convolution.activation == Some(Activation::Relu);
                let bias = vector(layer, "bias");
                let y = match (config.normalization, bias) {
                    (Normalization::Batch { epsilon, .. }, bias) if convolution.norm => {
                        let beta = vector(layer, "norm.beta").unwrap();
                        let gamma = vector(layer, "norm.gamma").unwrap_or_else(|| beta.ones_like());
                        let mean = vector(layer, "norm.running_mean").unwrap();
                        let scale = gamma / (vector(layer, "norm.running_var").unwrap() + epsilon).sqrt();
                        let centre = match bias {
                            Some(bias) => bias - mean,
                            None => -mean,
                        };
                        ops::scale_shift(y, scale.clone(), beta + centre * scale, relu)
                    }
                    (_, Some(bias)) => y + bias.reshape([1, -1, 1, 1]),
                    (_, None) => y,
                };
                match convolution.activation {
                    Some(Activation::Relu) => activation::relu(y),
                    Some(Activation::Sigmoid) => activation::sigmoid(y),
                    None => y,
                }
            }
            Operation::MaxPool { stride, .. } => ops::max_pool2d(x, PoolGeometry { stride, padding }),
            Operation::AveragePool { includes_padding } => {
                ops::avg_pool2d(x, PoolGeometry { stride: 1, padding }, includes_padding)
            }
            Operation::LocalResponseNorm => local_response().init().forward(x),
            Operation::Concatenation => Tensor::cat(inputs, 1),
            Operation::GlobalAveragePool => crate::pool::global_average(x).reshape([batch as i32, -1, 1, 1]),
            Operation::Linear { in_channels } => {
                let weight = Tensor::<2>::from_data(get(layer, "weight").unwrap(), &device);
                let logits = x.reshape([batch, in_channels]).matmul(weight.transpose());
                let bias: Tensor<2> = vector(layer, "bias").unwrap().reshape([1, -1]);
                (logits + bias).reshape([batch as i32, -1, 1, 1])
            }
        };
        assert_eq!(y.dims()[1], layer.channels, "{}", layer.name);
        assert_eq!(y.dims()[2..], [height, width].map(|size| layer.out_size(size)), "{}", layer.name);
        outputs.push(y);
    }
    outputs.pop().unwrap().flatten(1, 3)
}

/// Configurations that together have every layer and every rule.
fn configurations() -> Vec<BnInceptionConfig> {
    let mut all: Vec<_> = Preset::ALL.into_iter().map(Preset::config).collect();
    let paper = Preset::Paper.config();
    all.push(paper.clone().with_normalization(Normalization::LocalResponse));
    all.push(paper.clone().with_activation(Activation::Sigmoid));
    all.push(paper.with_strided_padding(StridedPadding::Same));
    all.into_iter().map(|config| config.with_width(0.125).with_classes(7)).collect()
}

#[test]
fn the_forward_pass_is_the_list_of_layers() {
    let device = Device::flex();
    let normal = burn::tensor::Distribution::Normal(0.0, 1.0);
    for config in configurations() {
        let trained = config.init(&device.clone().autodiff()).unwrap();
        let size = config.smallest_input();
        // Running statistics of a real batch, so that every normalisation has an effect.
        trained.forward(Tensor::random([2, 3, size, size], normal, &device.clone().autodiff()));
        let model = trained.valid();
        for size in [size, 45, 64] {
            let images = Tensor::<4>::random([2, 3, size, size + 3], normal, &device);
            let expected = walk(&model, images.clone());
            let by_hand = ops::without_engine(|| model.forward(images.clone()));
            assert_eq!(by_hand.into_data(), expected.clone().into_data(), "{config:?} at {size}");
            let error = (model.forward(images) - expected.clone()).powf_scalar(2.0).sum();
            let error = (error / expected.powf_scalar(2.0).sum()).into_scalar::<f32>().sqrt();
            assert!(error < 1e-5, "{config:?} at {size}: {error:e}");
        }
    }
}

#[test]
fn tensors_are_those_of_a_real_model() {
    for config in configurations() {
        let state = config.init(&Device::flex()).unwrap().state();
        let shapes: BTreeMap<_, _> = state.iter().map(|(name, data)| (name.clone(), data.shape().to_vec())).collect();
        assert_eq!(config.tensors(), shapes, "{config:?}");
        assert!(state::check(&config.tensors(), &state).is_ok());
    }
}

#[test]
fn inputs_come_before_their_readers() {
    for config in configurations() {
        let layers = config.layers();
        for (position, layer) in layers.iter().enumerate() {
            assert!(layer.inputs.iter().all(|input| *input < position), "{}", layer.name);
        }
    }
}
