//! ONNX export: ONNX's own checker accepts the files, and ONNX Runtime computes the same logits.

use std::path::{Path, PathBuf};
use std::process::Command;

use bn_inception::weights::{Metadata, Weights};
use bn_inception::{Activation, BnInceptionConfig, Normalization, Pooling, Preprocess, Preset};
use burn::tensor::{Device, Tensor, TensorData};

use super::common::{lively, missing, relative};

fn metadata(config: &BnInceptionConfig) -> Metadata {
    Metadata {
        config: config.clone(),
        preprocess: Preprocess { size: config.input_size as u32, ..Preprocess::cadene() },
        labels: (0..config.classes).map(|i| format!("class {i}")).collect(),
        temperature: None,
        facts: serde_json::Map::from_iter([("licence".to_owned(), "CC0".into())]),
    }
}

/// Every preset, the paper's variants, and an odd size at each pool.
fn variants() -> Vec<(String, BnInceptionConfig)> {
    let narrow = |preset: Preset, size| {
        let config = preset.config().with_width(0.25).with_classes(11);
        config.with_input_size(size)
    };
    let mut variants = Vec::new();
    for preset in Preset::ALL {
        let sizes: &[usize] = match preset {
            Preset::Small => &[28, 32],
            _ => &[64, 93],
        };
        for size in sizes {
            variants.push((format!("{preset}-{size}"), narrow(preset, *size)));
        }
    }
    let caffe = || narrow(Preset::Caffe, 64);
    let sigmoid = caffe().with_activation(Activation::Sigmoid);
    variants.push(("sigmoid".to_owned(), sigmoid));
    let inception = caffe().with_normalization(Normalization::LocalResponse);
    variants.push(("inception".to_owned(), inception));
    variants
}

/// Ends of graphs of features.
const FEATURES: [(&str, Pooling); 3] = [("5b", Pooling::Average), ("3c", Pooling::Max), ("classifier", Pooling::Sum)];

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter().collect()
}

fn write_floats(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

/// The Python that has numpy, onnx and onnxruntime, or the reason why there is none.
fn python() -> Result<String, String> {
    let program = std::env::var("BN_INCEPTION_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let packages = ["-c", "import numpy, onnx, onnxruntime"];
    match Command::new(&program).args(packages).output() {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(text.lines().last().unwrap_or("failed").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn onnx_runtime_computes_the_same() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            missing("python", &format!("numpy, onnx, onnxruntime: {reason}"));
            return;
        }
    };
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (name, config) in variants() {
        let model = config.init_seeded(&device, 3).unwrap();
        let state = lively(&model);
        let model = model.load_state(state).unwrap();
        let folded = model.fold();
        let plain = Weights::from_model(&model, metadata(&config)).unwrap();
        let merged = Weights::new(folded.state(), metadata(folded.config())).unwrap();
        let features = FEATURES.map(|(end_point, pooling)| {
            let onnx = merged.clone().into_onnx_features(end_point, pooling).unwrap();
            (end_point, pooling, onnx)
        });
        let [plain, merged] = [plain, merged].map(|weights| weights.into_onnx().unwrap());
        for batch in [1, 3] {
            let size = config.input_size;
            let wave = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
            let pixels: Vec<f32> = (0..batch * 3 * size * size).map(wave).collect();
            let images = TensorData::new(pixels.clone(), [batch, 3, size, size]);
            let images = Tensor::from_data(images, &device);
            let logits = host(model.forward(images.clone()));
            let whole = [("plain".to_owned(), &plain, logits.clone()), ("folded".to_owned(), &merged, logits)];
            let features = features.iter().map(|(end_point, pooling, onnx)| {
                let vectors = folded.embed(images.clone(), end_point, *pooling).unwrap();
                (format!("{end_point}-{pooling}"), onnx, host(vectors))
            });
            for (kind, onnx, values) in features.chain(whole) {
                let case = format!("{name}-{kind}-{batch}");
                let path = |extension: &str| folder.path().join(&case).with_extension(extension);
                std::fs::write(path("onnx"), onnx).unwrap();
                write_floats(&path("images"), &pixels);
                expected.push((case.clone(), path("logits"), values));
            }
        }
    }
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_runtime.py");
    let run = Command::new(python).arg(script).arg(folder.path()).output();
    let run = run.unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{stderr}");
    let mut worst: f64 = 0.0;
    for (case, path, logits) in &expected {
        let bytes = std::fs::read(path).unwrap();
        let words = bytes.chunks_exact(4);
        let theirs: Vec<f32> = words.map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect();
        let difference = relative(&theirs, logits);
        assert!(difference < 1e-4, "{case}: {difference:.1e}");
        worst = worst.max(difference);
    }
    eprintln!("{} graphs, largest difference {worst:.1e}", expected.len());
}

#[test]
fn weights_fold_as_models_do() {
    for (name, config) in variants() {
        let model = config.init_seeded(&Device::flex(), 3).unwrap();
        let state = lively(&model);
        let model = model.load_state(state).unwrap();
        let folded = model.fold();
        let expected = Weights::new(folded.state(), metadata(folded.config())).unwrap();
        let found = Weights::from_model(&model, metadata(&config)).unwrap().fold();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn tensors_of_another_network_are_refused() {
    let device = Device::flex();
    let config = Preset::Caffe.config().with_width(0.25).with_classes(11);
    let model = config.init_seeded(&device, 3).unwrap();
    let other = Preset::Onnx.config().with_width(0.25).with_classes(11);
    let error = Weights::from_model(&model, metadata(&other)).unwrap_err();
    assert!(error.to_string().contains("unexpected 3a.conv_1x1.bias"), "{error}");
}

#[test]
fn a_graph_of_features_has_no_more_than_them() {
    let config = Preset::Caffe.config().with_width(0.25).with_classes(11).with_input_size(64);
    let model = config.init_seeded(&Device::flex(), 3).unwrap().fold();
    let weights = Weights::new(model.state(), metadata(model.config())).unwrap();
    let whole = bn_inception_formats::read(&weights.clone().into_onnx().unwrap()).unwrap();
    for ((end_point, pooling), end) in FEATURES.into_iter().zip([
        &["GlobalAveragePool", "Flatten"][..],
        &["GlobalMaxPool", "Flatten"],
        &["GlobalAveragePool", "GlobalMaxPool", "Add", "Flatten", "Gemm"],
    ]) {
        let file = weights.clone().into_onnx_features(end_point, pooling).unwrap();
        let graph = bn_inception_formats::read(&file).unwrap();
        let operators: Vec<_> = graph.graph.iter().map(|node| node.operator.as_str()).collect();
        assert!(operators.ends_with(end), "{end_point}: {operators:?}");
        assert_eq!(graph.graph.last().unwrap().outputs, ["features"]);
        let block = |name: &str| name.split('.').next().unwrap().to_owned();
        let expected: Vec<_> = match end_point {
            "3c" => whole.tensors.keys().filter(|name| ["stem", "3a", "3b", "3c"].contains(&&*block(name))).collect(),
            "5b" => whole.tensors.keys().filter(|name| block(name) != "classifier").collect(),
            _ => whole.tensors.keys().collect(),
        };
        assert_eq!(graph.tensors.keys().collect::<Vec<_>>(), expected, "{end_point}");
        for (name, tensor) in &graph.tensors {
            assert_eq!(tensor, &whole.tensors[name], "{name}");
        }
    }
    let error = weights.into_onnx_features("6a", Pooling::Max).unwrap_err().to_string();
    assert!(error.ends_with("5b, classifier"), "{error}");
}
