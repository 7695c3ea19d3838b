//! The same training steps on every backend in this build: the losses agree with Flex's.

use bn_inception::{DeviceSpec, Model, Pooling, Preset};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::common::{missing, relative};

/// The same images for every backend.
fn images(batch: usize, size: usize) -> TensorData {
    let wave = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
    let values: Vec<f32> = (0..batch * 3 * size * size).map(wave).collect();
    TensorData::new(values, [batch, 3, size, size])
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter().collect()
}

/// Losses of a few SGD steps of the network for small images. Batch normalisation over few values amplifies rounding,
/// so the maps stay 7 x 7 and the steps short. The width leaves 8 channels in every convolution: a GPU backend compiles
/// and times several kernels for each new shape, which takes seconds each on a software renderer.
#[allow(dead_code)] // a build with Flex alone has nothing to compare it with
fn losses(device: &Device) -> Vec<f32> {
    let device = device.clone().autodiff();
    let config = Preset::Small.config().with_width(0.05).with_classes(5);
    let mut model: Model = config.init_seeded(&device, 1).unwrap();
    let mut optimizer = SgdConfig::new().init();
    let targets = TensorData::new((0..8).map(|i| i % 5).collect::<Vec<i64>>(), [8]);
    let mut losses = Vec::new();
    for _ in 0..4 {
        let logits = model.forward(Tensor::<4>::from_data(images(8, 28), &device));
        let targets = Tensor::<1, Int>::from_data(targets.clone(), &device);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, targets);
        losses.extend(host(loss.clone()));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.02, model, gradients);
    }
    losses
}

/// Logits of the ImageNet network, narrow, with every kind of branch and pool.
#[allow(dead_code)]
fn logits(device: &Device) -> Vec<f32> {
    let config = Preset::Caffe.config().with_width(0.05).with_classes(5);
    let model = config.init_seeded(device, 2).unwrap();
    host(model.forward(Tensor::<4>::from_data(images(2, 64), device)))
}

/// The folded network gives the logits and end points of the unfolded one on the same device, to 1e-5 of their size.
#[allow(dead_code)]
fn folding_keeps_logits_and_end_points(device: &Device) {
    let config = Preset::Caffe.config().with_width(0.05).with_classes(5);
    let model = config.init_seeded(device, 2).unwrap();
    let x = Tensor::<4>::from_data(images(2, 64), device);
    let (folded, features) = (model.fold(), model.features(x.clone()));
    let mut pairs = vec![("logits", host(model.forward(x.clone())), host(folded.forward(x.clone())))];
    for end_point in ["stem", "3c", "5b"] {
        let found = folded.features(x.clone(), end_point).unwrap();
        pairs.push((end_point, host(features.get(end_point).unwrap().clone()), host(found)));
    }
    let means = features.get("4e").unwrap().clone().mean_dims(&[2, 3]);
    pairs.push(("means of 4e", host(means), host(folded.embed(x, "4e", Pooling::Average).unwrap())));
    for (what, expected, found) in pairs {
        let error = relative(&found, &expected);
        assert!(error < 1e-5, "folding changes the {what} by {error:e}");
    }
}

#[allow(dead_code)]
fn agrees_with_flex(name: &str) {
    let device = match name.parse::<DeviceSpec>().unwrap().open() {
        Ok(open) => open,
        Err(error) => {
            missing("gpu", &error.to_string());
            return;
        }
    };
    folding_keeps_logits_and_end_points(&device.device);
    let (expected, found) = (losses(&Device::flex()), losses(&device.device));
    eprintln!("{}: {found:?}, flex: {expected:?}", device.name);
    assert!(expected[3] < expected[0], "it learns: {expected:?}");
    let expected = expected.into_iter().chain(logits(&Device::flex()));
    for (a, b) in found.into_iter().chain(logits(&device.device)).zip(expected) {
        assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{name}: {a} against Flex's {b}");
    }
}

#[test]
#[cfg(feature = "ndarray")]
fn ndarray_takes_the_same_steps() {
    agrees_with_flex("ndarray");
}

#[test]
#[cfg(feature = "wgpu")]
fn wgpu_takes_the_same_steps() {
    agrees_with_flex("wgpu");
}

#[test]
#[cfg(feature = "cuda")]
fn cuda_takes_the_same_steps() {
    agrees_with_flex("cuda");
}
