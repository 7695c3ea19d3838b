//! The network against PyTorch: every end point, the logits, gradients and running statistics.

use std::collections::BTreeMap;

use bn_inception::{Model, Preset, State};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::common::{Fixture, assert_close, formula, host, relative};

const BOUND: f64 = 1e-4;

/// The key of our tensor `name` in the state_dict of the public PyTorch weights.
fn pytorch_key(name: &str) -> String {
    let (layer, tensor) = match name.split_once(".norm.") {
        Some((layer, "gamma")) => (layer, "_bn.weight"),
        Some((layer, "beta")) => (layer, "_bn.bias"),
        Some((layer, "running_mean")) => (layer, "_bn.running_mean"),
        Some((layer, _)) => (layer, "_bn.running_var"),
        None if name.ends_with(".bias") => (name.trim_end_matches(".bias"), ".bias"),
        None => (name.trim_end_matches(".weight"), ".weight"),
    };
    let layers: BTreeMap<&str, &str> = BTreeMap::from([
        ("stem.conv1", "conv1_7x7_s2"),
        ("stem.conv2_reduce", "conv2_3x3_reduce"),
        ("stem.conv2", "conv2_3x3"),
        ("classifier", "last_linear"),
        ("conv_1x1", "1x1"),
        ("reduce_3x3", "3x3_reduce"),
        ("conv_3x3", "3x3"),
        ("reduce_double", "double_3x3_reduce"),
        ("conv_double_1", "double_3x3_1"),
        ("conv_double_2", "double_3x3_2"),
        ("pool_projection", "pool_proj"),
    ]);
    match layers.get(layer) {
        Some(key) => format!("{key}{tensor}"),
        None => {
            let (block, unit) = layer.split_once('.').unwrap();
            format!("inception_{block}_{}{tensor}", layers[unit])
        }
    }
}

fn weights(model: &Model, training: bool) -> State {
    let tensors = model.config().tensors().into_iter();
    let formulas = tensors.map(|(name, dims)| {
        let key = pytorch_key(&name);
        let u = formula(&key, dims.iter().product());
        let scaled = |start: f32, scale: f32| move |u: f32| start + scale * u;
        let of: Box<dyn Fn(f32) -> f32> = match key.rsplit_once('.').unwrap() {
            ("last_linear", "weight") => Box::new(scaled(0.0, 0.05)),
            (layer, "weight") if layer.ends_with("_bn") => Box::new(scaled(1.0, 0.4)),
            (_, "weight") => {
                let fan_in: usize = dims[1..].iter().product();
                Box::new(scaled(0.0, (6.0 / fan_in as f64).sqrt() as f32))
            }
            (layer, "bias") if layer.ends_with("_bn") && training => {
                Box::new(|u| 0.2 * u + if u < -0.5 { -3.0 } else { 3.0 })
            }
            (layer, "bias") if layer.ends_with("_bn") => Box::new(scaled(0.0, 0.2)),
            (_, "bias") => Box::new(scaled(0.0, 0.1)),
            (_, "running_mean") => Box::new(scaled(0.0, 0.2)),
            (_, _) => Box::new(scaled(1.0, 0.5)),
        };
        (name, TensorData::new(u.map(of).collect::<Vec<f32>>(), dims))
    });
    formulas.collect()
}

fn reference(training: bool, device: &Device) -> Model {
    let model = Preset::Caffe.config().init(device).unwrap();
    let weights = weights(&model, training);
    model.load_state(weights).unwrap()
}

fn images(fixture: &Fixture, case: &str, device: &Device) -> Tensor<4> {
    let case = &fixture.json["cases"][case];
    let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
    let u = formula(case["input"].as_str().unwrap(), shape.iter().product());
    let values: Vec<f32> = u.map(|u| 1.5 * u).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Compares a sample element by element and the whole tensor by its two sums.
fn check_sample(fixture: &Fixture, what: &str, about: &serde_json::Value, values: &[f32], name: &str) {
    let stride = about["stride"].as_u64().unwrap() as usize;
    let sample: Vec<f32> = values.iter().step_by(stride).copied().collect();
    assert_close(what, &sample, &fixture.values(name), BOUND);
    let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
    let expected = about["sum_sq"].as_f64().unwrap();
    let error = (square - expected).abs() / expected;
    assert!(error <= 2.0 * BOUND, "{what}: sum of squares {square}, expected {expected}");
}

fn check_end_points(fixture: &Fixture, case: &str, model: &Model, images: Tensor<4>) {
    let about = &fixture.json["cases"][case]["taps"];
    let features = model.features(images);
    let mut checked = 0;
    for (name, tensor) in features.iter() {
        let key = if name == "stem" { "pool2" } else { name };
        let shape: Vec<usize> = serde_json::from_value(about[key]["shape"].clone()).unwrap();
        assert_eq!(tensor.dims().to_vec(), shape, "{case} {name}");
        let values = host(tensor);
        check_sample(fixture, &format!("{case} {name}"), &about[key], &values, &format!("{case}.{key}"));
        checked += 1;
    }
    assert_eq!(checked, 12);
}

fn evaluation(device: &Device) {
    let fixture = Fixture::open("network");
    let model = reference(false, device);
    for case in ["eval", "eval_odd"] {
        let images = images(&fixture, case, device);
        check_end_points(&fixture, case, &model, images.clone());
        let logits = host(&model.forward(images));
        assert_close(case, &logits, &fixture.values(&format!("{case}.logits")), BOUND);
    }
}

fn training(device: &Device) {
    let fixture = Fixture::open("network");
    let device = device.clone().autodiff();
    let about = &fixture.json["cases"]["train"];
    check_end_points(&fixture, "train", &reference(true, &device), images(&fixture, "train", &device));

    let model = reference(true, &device);
    let logits = model.forward(images(&fixture, "train", &device));
    assert_close("train logits", &host(&logits), &fixture.values("train.logits"), BOUND);
    let targets: Vec<i64> = serde_json::from_value(about["targets"].clone()).unwrap();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [4]), &device);
    let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, targets);
    let value = f64::from(host(&loss)[0]);
    let expected = about["loss"].as_f64().unwrap();
    assert!((value - expected).abs() <= BOUND * expected, "loss {value}, expected {expected}");

    let gradients = loss.backward();
    let last = model.blocks.last().unwrap();
    let projection = last.pool_projection.as_ref().unwrap();
    let double = last.conv_double_2.as_ref().unwrap();
    let flat = |tensor: Option<Tensor<4>>| host(&tensor.unwrap());
    let vector = |tensor: Option<Tensor<1>>| host(&tensor.unwrap());
    let norm = |unit: &bn_inception::ConvUnit| unit.norm.clone().unwrap();
    let (first, last_norm) = (norm(&model.stem.conv1), norm(projection));
    for (key, gradient) in [
        ("conv1_7x7_s2.weight", flat(model.stem.conv1.weight.grad(&gradients))),
        ("conv1_7x7_s2_bn.weight", vector(first.gamma.unwrap().grad(&gradients))),
        ("conv1_7x7_s2_bn.bias", vector(first.beta.grad(&gradients))),
        ("inception_5b_double_3x3_2.weight", flat(double.weight.grad(&gradients))),
        ("inception_5b_pool_proj.weight", flat(projection.weight.grad(&gradients))),
        ("inception_5b_pool_proj_bn.weight", vector(last_norm.gamma.unwrap().grad(&gradients))),
        ("inception_5b_pool_proj_bn.bias", vector(last_norm.beta.grad(&gradients))),
        ("last_linear.weight", host(&model.classifier.weight.grad(&gradients).unwrap())),
        ("last_linear.bias", vector(model.classifier.bias.grad(&gradients))),
    ] {
        let name = format!("train.grad.{key}");
        check_sample(&fixture, &name, &about["gradients"][key], &gradient, &name);
    }

    let state = model.state();
    let by_key: BTreeMap<String, &TensorData> = state.iter().map(|(name, data)| (pytorch_key(name), data)).collect();
    for statistic in ["running_mean", "running_var"] {
        let layers = about["bn_layers"].as_array().unwrap().iter();
        let all: Vec<f32> = layers
            .flat_map(|layer| {
                let key = format!("{}.{statistic}", layer["name"].as_str().unwrap());
                by_key[&key].iter::<f32>().collect::<Vec<_>>()
            })
            .collect();
        let stride = about["running_stride"].as_u64().unwrap() as usize;
        let sample: Vec<f32> = all.into_iter().step_by(stride).collect();
        let expected = fixture.values(&format!("train.{statistic}"));
        assert_close(statistic, &sample, &expected, BOUND);
    }
}

#[test]
fn formula_is_the_generators() {
    let fixture = Fixture::open("network");
    let model = Preset::Caffe.config().init(&Device::flex()).unwrap();
    let weights = weights(&model, false);
    let by_key: BTreeMap<String, &TensorData> = weights.iter().map(|(name, data)| (pytorch_key(name), data)).collect();
    for (key, values) in fixture.json["formula_check"].as_object().unwrap() {
        let expected: Vec<f32> = serde_json::from_value(values.clone()).unwrap();
        let found: Vec<f32> = by_key[key].iter::<f32>().take(expected.len()).collect();
        assert_eq!(found, expected, "{key}");
    }
}

#[test]
#[cfg(feature = "flex")]
fn flex_evaluation_agrees_with_pytorch() {
    evaluation(&Device::flex());
}

#[test]
#[cfg(feature = "flex")]
fn flex_training_agrees_with_pytorch() {
    training(&Device::flex());
}

#[test]
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
fn ndarray_agrees_with_pytorch() {
    evaluation(&Device::ndarray());
    training(&Device::ndarray());
}

#[test]
#[cfg(feature = "flex")]
fn weights_survive_a_round_trip_through_a_file() {
    use bn_inception::Preprocess;
    use bn_inception::weights::{Metadata, Precision, Weights};

    let device = Device::flex();
    let config = Preset::TfSlim.config().with_width(0.125).with_classes(4);
    let model = config.init_seeded(&device, 7).unwrap();
    let metadata = Metadata {
        config,
        preprocess: Preprocess::tf_slim(),
        labels: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        temperature: None,
        facts: serde_json::Map::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let weights = Weights::from_model(&model, metadata.clone()).unwrap();
    weights.save(&path, Precision::Full).unwrap();
    let (loaded, read) = Weights::open(&path, None).unwrap().model(&device);
    assert_eq!(read, metadata);
    assert_eq!(loaded.state(), model.state());

    weights.save(&path, Precision::Half).unwrap();
    let (half, _) = Weights::open(&path, None).unwrap().model(&device);
    let x = Tensor::<4>::ones([1, 3, 64, 64], &device);
    let error = relative(&host(&half.forward(x.clone())), &host(&model.valid().forward(x)));
    assert!(error < 5e-3, "{error}");

    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = Weights::open(&path, None).unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("safetensors file"), "{error}");
}
