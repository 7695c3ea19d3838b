//! Batch normalisation and local response normalisation against PyTorch, and the paper's Algorithm 2.

use bn_inception::{BatchNorm, Preset, TensorRole};
use burn::module::{Module, Param, RunningState};
use burn::nn::LocalResponseNormConfig;
use burn::tensor::{Device, Tensor, TensorData};

use super::common::{Fixture, assert_close, formula, host};

const BOUND: f64 = 1e-5;

fn layer(fixture: &Fixture, device: &Device) -> BatchNorm {
    let mut layer = BatchNorm::new(4, 1e-5, 0.1, true, device);
    let load = |name: &str| fixture.tensor::<1>(name, device);
    layer.gamma = Some(Param::from_tensor(load("gamma")));
    layer.beta = Param::from_tensor(load("beta"));
    layer.running_mean = RunningState::new(load("running_mean.start"));
    layer.running_var = RunningState::new(load("running_var.start"));
    layer
}

#[test]
fn training_gradients_and_running_statistics_are_pytorchs() {
    let fixture = Fixture::open("bn");
    let device = Device::flex().autodiff();
    let layer = layer(&fixture, &device);
    let upstream = fixture.tensor::<4>("upstream", &device);
    for batch in 0..2 {
        let check = |what: &str, values: Vec<f32>| {
            let name = format!("train{batch}.{what}");
            assert_close(&name, &values, &fixture.values(&name), BOUND);
        };
        let x = fixture.tensor::<4>(&format!("x{batch}"), &device).require_grad();
        let y = layer.forward(x.clone());
        check("y", host(&y));
        let gradients = (y * upstream.clone()).sum().backward();
        check("dx", host(&x.grad(&gradients).unwrap()));
        check("dgamma", host(&layer.gamma.as_ref().unwrap().grad(&gradients).unwrap()));
        check("dbeta", host(&layer.beta.grad(&gradients).unwrap()));
        check("running_mean", host(&layer.running_mean.value()));
        check("running_var", host(&layer.running_var.value()));
    }
    let y = layer.valid().forward(fixture.tensor::<4>("x2", &Device::flex()));
    assert_close("eval.y", &host(&y), &fixture.values("eval.y"), BOUND);
}

#[test]
fn recalibration_is_algorithm_2() {
    // Population statistics of the first normalisation, which reads the input through one convolution only: plain
    // means over batches of batch mean and unbiased batch variance.
    let device = Device::flex();
    let model = Preset::Small.config().with_width(0.25).init(&device).unwrap();
    let batch = |k: usize| {
        let values = formula(&format!("batch{k}"), 2 * 3 * 28 * 28).collect::<Vec<_>>();
        Tensor::<4>::from_data(TensorData::new(values, [2, 3, 28, 28]), &device)
    };
    let recalibrated = model.recalibrate((0..3).map(batch));

    let unit = &model.stem.conv1;
    let (mut means, mut variances) = (vec![0.0; 24], vec![0.0; 24]);
    for k in 0..3 {
        let options = burn::tensor::ops::ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let bias = unit.bias.as_ref().map(|bias| bias.val());
        let z = burn::tensor::module::conv2d(batch(k), unit.weight.val(), bias, options);
        let [n, _, h, w] = z.dims();
        let z = host(&z);
        for channel in 0..24 {
            let plane = h * w;
            let of_channel = (0..n).flat_map(|i| {
                let start = (i * 24 + channel) * plane;
                z[start..start + plane].iter().map(|v| f64::from(*v))
            });
            let values: Vec<f64> = of_channel.collect();
            let m = values.len() as f64;
            let mean = values.iter().sum::<f64>() / m;
            let spread: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
            means[channel] += mean / 3.0;
            variances[channel] += spread / (m - 1.0) / 3.0;
        }
    }
    let norm = recalibrated.stem.conv1.norm.as_ref().unwrap();
    let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
    assert_close("mean", &host(&norm.running_mean.value()), &single(means), BOUND);
    assert_close("variance", &host(&norm.running_var.value()), &single(variances), BOUND);

    // The original keeps its own statistics, and nothing else changed.
    let (old, new) = (model.state(), recalibrated.state());
    for (name, data) in &old {
        let statistic = TensorRole::of(name) == TensorRole::Statistic;
        assert_eq!(data != &new[name], statistic, "{name}");
    }
}

#[test]
fn population_statistics_of_one_layer_are_pytorchs() {
    let fixture = Fixture::open("bn");
    let device = Device::flex();
    // A momentum of 1/k over three batches is the plain mean.
    let (mut mean, mut variance) = (vec![0.0; 4], vec![0.0; 4]);
    for batch in 0..3 {
        let mut once = BatchNorm::new(4, 1e-5, 1.0, true, &device.clone().autodiff());
        once.gamma = None;
        let x = fixture.tensor::<4>(&format!("x{batch}"), &device.clone().autodiff());
        once.forward(x);
        let add = |total: &mut Vec<f32>, value: Vec<f32>| {
            total.iter_mut().zip(value).for_each(|(total, value)| *total += value / 3.0);
        };
        add(&mut mean, host(&once.running_mean.value()));
        add(&mut variance, host(&once.running_var.value()));
    }
    assert_close("mean", &mean, &fixture.values("recalibrated.running_mean"), BOUND);
    assert_close("variance", &variance, &fixture.values("recalibrated.running_var"), BOUND);
}

#[test]
fn local_response_normalisation_is_pytorchs() {
    let json: serde_json::Value = serde_json::from_str(include_str!("../fixtures/parity/lrn.json")).unwrap();
    let device = Device::flex().autodiff();
    let values = |name: &str| serde_json::from_value::<Vec<f32>>(json[name].clone()).unwrap();
    let shape: Vec<usize> = serde_json::from_value(json["shape"].clone()).unwrap();
    let load = |name: &str| Tensor::<4>::from_data(TensorData::new(values(name), shape.clone()), &device);
    // As the stem creates it.
    let lrn = LocalResponseNormConfig::new(json["size"].as_u64().unwrap() as usize)
        .with_alpha(json["alpha"].as_f64().unwrap())
        .with_beta(json["beta"].as_f64().unwrap())
        .with_k(json["k"].as_f64().unwrap())
        .init();
    let x = load("x").require_grad();
    let y = lrn.forward(x.clone());
    assert_close("y", &host(&y), &values("y"), BOUND);
    let gradients = (y * load("upstream")).sum().backward();
    assert_close("dx", &host(&x.grad(&gradients).unwrap()), &values("dx"), BOUND);
}
