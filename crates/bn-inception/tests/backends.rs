//! The same training steps on every backend in this build: the losses agree with Flex's.

#![cfg(feature = "flex")]

use bn_inception::{DeviceSpec, Model, Preset};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Losses of a few SGD steps of a small network on fixed images, and the logits in evaluation afterwards.
#[allow(dead_code)] // a build with Flex alone has nothing to compare it with
fn losses(device: &Device) -> (Vec<f32>, Vec<f32>) {
    let plain = device.clone();
    let device = device.clone().autodiff();
    let config = Preset::Caffe.config().with_width(0.125).with_classes(5);
    let mut model: Model = config.init_seeded(&device, 1).unwrap();
    let mut optimizer = SgdConfig::new().init();
    let wave = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
    let images = TensorData::new((0..4 * 3 * 64 * 64).map(wave).collect::<Vec<_>>(), [4, 3, 64, 64]);
    let targets = TensorData::new(vec![0_i64, 1, 2, 3], [4]);
    let mut losses = Vec::new();
    for _ in 0..4 {
        let logits = model.forward(Tensor::<4>::from_data(images.clone(), &device));
        let targets = Tensor::<1, Int>::from_data(targets.clone(), &device);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, targets);
        losses.push(loss.clone().into_data().iter::<f32>().next().unwrap());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.02, model, gradients);
    }
    use burn::module::Module;
    let logits = model.valid().forward(Tensor::<4>::from_data(images, &plain));
    (losses, logits.into_data().convert::<f32>().iter().collect())
}

#[allow(dead_code)]
fn agrees_with_flex(name: &str) {
    let device = match name.parse::<DeviceSpec>().unwrap().open() {
        Ok(open) => open,
        Err(error) => {
            // Said aloud, and a failure where the machine promises an adapter.
            eprintln!("skipped: {error}");
            assert!(std::env::var_os("BN_INCEPTION_REQUIRE_GPU").is_none(), "{error}");
            return;
        }
    };
    let (expected, logits) = losses(&Device::flex());
    let (found, found_logits) = losses(&device.device);
    eprintln!("{}: {found:?}, flex: {expected:?}", device.name);
    assert!(expected[3] < expected[0], "it learns: {expected:?}");
    for (a, b) in found.iter().zip(&expected).chain(found_logits.iter().zip(&logits)) {
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
