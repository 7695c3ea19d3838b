//! Networks for inputs of other than three channels: optical flow, as temporal segment networks read it.

use std::fs;
use std::path::{Path, PathBuf};

use bn_inception::weights::{Import, Names, Precision, Weights};
use bn_inception::{BnInceptionConfig, FoldedModel, ImageClassifier, Preprocess, Preset, StemKind, decode_file};
use burn::tensor::{Device, Tensor, TensorData};

use super::common::relative;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bn-inception-formats/tests/fixtures").join(name)
}

fn open(name: &str) -> Weights {
    let import = Import::new(Preset::Caffe.config().with_width(0.05), Preprocess::cadene());
    Weights::open(path(name), Some(&import)).unwrap()
}

/// The input of `flow.json`: ten channels, not square.
fn input(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..10 * 64 * 96).map(|at| (0.1 * f64::from(at)).sin() as f32).collect();
    Tensor::from_data(TensorData::new(values, [1, 10, 64, 96]), device)
}

/// Pooled features of `weights`.
fn features(weights: Weights) -> Vec<f32> {
    let device = Device::flex();
    let (model, _) = weights.model(&device);
    let map = model.features(input(&device)).get("5b").unwrap().clone();
    map.mean_dims(&[2, 3]).into_data().iter::<f32>().collect()
}

#[test]
fn features_of_flow_are_pytorchs() {
    let text = fs::read_to_string(path("flow.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = |key: &str| serde_json::from_value::<Vec<f32>>(expected[key].clone()).unwrap();
    let own = open("flow.pth");
    assert_eq!(own.metadata().config.input_channels, Some(10));
    let made = open("tsn.pth").with_input_channels(10).unwrap();
    for (key, weights) in [("own", own), ("mean", made)] {
        let error = relative(&features(weights), &expected(key));
        println!("{key}: {error:.1e}");
        assert!(error < 1e-4, "{key}: features differ by {error:.1e}");
    }
}

#[test]
fn files_keep_the_number_of_channels() {
    let folder = tempfile::tempdir().unwrap();
    let weights = open("flow.pth");
    let expected = features(weights.clone());
    let file = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        Weights::open(path, None).unwrap()
    };
    for read in [
        file("a.safetensors", weights.to_safetensors(Precision::Full, Names::Own).unwrap()),
        file("b.safetensors", weights.to_safetensors(Precision::Full, Names::Cadene).unwrap()),
        file("c.onnx", weights.clone().into_onnx().unwrap()),
        file("d.safetensors", weights.clone().fold().to_safetensors(Precision::Full, Names::Own).unwrap()),
    ] {
        assert_eq!(read.metadata().config.image_channels(), 10);
        assert!(relative(&features(read), &expected) < 1e-4);
    }
}

#[test]
fn every_kind_of_network_takes_any_number_of_channels() {
    let device = Device::flex();
    for (preset, channels, size) in
        [(Preset::Paper, 4, 32), (Preset::TfSlim, 1, 32), (Preset::Small, 2, 16), (Preset::Caffe, 64, 32)]
    {
        let config = preset.config().with_width(0.05).with_classes(3).with_input_channels(Some(channels));
        let model = config.init(&device).unwrap();
        let images = Tensor::<4>::ones([2, channels, size, size], &device);
        let logits = model.forward(images.clone());
        let folded: FoldedModel = model.fold();
        let difference = (folded.forward(images.clone()) - logits).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-4, "{preset}: {difference:.1e}");
        // A training step: gradients of the first filters.
        let training = device.clone().autodiff();
        let model = config.init(&training).unwrap();
        let images = Tensor::<4>::ones([2, channels, size, size], &training);
        let gradients = model.forward(images).sum().backward();
        let first = model.stem.depthwise.as_ref().unwrap_or(&model.stem.conv1);
        let gradient = first.weight.grad(&gradients).unwrap();
        assert_eq!(gradient.dims()[2..], first.weight.dims()[2..]);
        // Frozen, the first convolution runs where it ran before.
        let frozen = model.freeze_through("3a").unwrap().forward(Tensor::ones([2, channels, size, size], &training));
        assert_eq!(frozen.dims(), [2, 3]);
    }
}

#[test]
fn images_do_not_go_into_networks_of_flow() {
    let config = |channels| BnInceptionConfig { input_channels: Some(channels), ..Preset::Caffe.config() };
    for channels in [0, 65] {
        let error = config(channels).validate().unwrap_err().to_string();
        assert_eq!(error, format!("input_channels is {channels}, expected 1 to 64"));
        assert!(open("tsn.pth").with_input_channels(channels).is_err());
    }
    let classifier = ImageClassifier::from_weights(open("flow.pth"), &Device::flex()).unwrap();
    let image = decode_file(path("image.png")).unwrap();
    let error = classifier.logits(&[image]).unwrap_err().to_string();
    assert!(error.contains("number of channels") && error.contains("10"), "{error}");
    let rgb = open("tsn.pth");
    let kept = rgb.clone().with_input_channels(3).unwrap();
    assert_eq!(kept, rgb);
    let config = rgb.metadata().config.clone().with_stem(StemKind::Separable);
    assert_eq!(config.with_input_channels(Some(5)).tensors()["stem.depthwise.weight"], [40, 1, 7, 7]);
}
