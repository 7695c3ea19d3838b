//! Files of other projects: the logits are PyTorch's, and impossible combinations are refused.

use std::fs;
use std::path::{Path, PathBuf};

use bn_inception::weights::{Import, ImportError, Weights, WeightsProblem};
use bn_inception::{BnInceptionConfig, ImageClassifier, MaxPooling, Preprocess, Preset, State, decode_file};
use burn::tensor::Device;
use safetensors::tensor::{Dtype, TensorView};

use super::common::relative;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bn-inception-formats/tests/fixtures")
}

fn path(name: &str) -> String {
    folder().join(name).display().to_string()
}

fn expected(key: &str) -> Vec<f32> {
    let text = fs::read_to_string(folder().join("expected.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(json[key].clone()).unwrap()
}

/// The network of the fixtures.
fn narrow() -> BnInceptionConfig {
    Preset::Caffe.config().with_width(0.05)
}

fn import(config: BnInceptionConfig) -> Import {
    Import::new(config, Preprocess::cadene())
}

fn logits(file: &str, import: &Import) -> Vec<f32> {
    let weights = Weights::open(file, Some(import)).unwrap();
    let classifier = ImageClassifier::from_weights(weights, &Device::flex()).unwrap();
    let image = decode_file(folder().join("image.png")).unwrap();
    classifier.logits(&[image]).unwrap().remove(0)
}

fn check(file: &str, import: &Import, key: &str) {
    let error = relative(&logits(file, import), &expected(key));
    println!("{file}: {error:.1e}");
    assert!(error < 1e-4, "{file}: logits differ by {error:.1e}");
}

fn refused(file: &str, import: &Import) -> WeightsProblem {
    let error = Weights::open(file, Some(import)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(file) && !text.contains('\n'), "{text}");
    println!("{text}");
    error.into_problem()
}

#[test]
fn pytorch_files_give_pytorchs_logits() {
    let import = import(narrow());
    for file in ["zip.pth", "legacy.pth", "cadene.safetensors"] {
        check(&path(file), &import, "logits");
    }
    for file in ["nested.pth", "imagenet.pth", "imagenet_legacy.pth"] {
        check(&path(file), &import, "logits_half");
    }
}

#[test]
fn onnx_files_give_pytorchs_logits() {
    let kept = import(narrow());
    check(&path("kept.onnx"), &kept, "logits");
    check(&path("folded.onnx"), &kept, "logits");
    check(&path("external.onnx"), &kept, "logits");
    check(&path("scaled.onnx"), &import(narrow().with_conv_bias(false)), "logits");
}

#[test]
fn the_onnx_graph_wins_over_the_preset() {
    // The graph says that the border counts in its average pools; this configuration says it does not.
    let import = import(narrow().with_average_includes_padding(false).with_conv_bias(false));
    check(&path("scaled.onnx"), &import, "logits");
}

#[test]
fn mxnet_and_caffe_files_give_pytorchs_logits() {
    // MXNet's names, but the tensors of preset caffe: a configuration that is no preset's.
    check(&path("mxnet.params"), &import(narrow().with_block_pooling(MaxPooling::Same)), "logits");
    check(&path("bn.caffemodel"), &import(narrow()), "logits");
    let unbiased = import(narrow().with_conv_bias(false));
    check(&path("scale.caffemodel"), &unbiased, "logits");
}

/// The tensors of `zip.pth` by our own names, in a safetensors file without metadata, and in a burnpack file.
#[test]
fn our_own_names_without_configuration() {
    let weights = Weights::open(path("zip.pth"), Some(&import(narrow()))).unwrap();
    let (model, _) = weights.model(&Device::flex());
    let state = model.state();
    let tensors: Vec<_> = state
        .iter()
        .map(|(name, data)| {
            let bytes: Vec<u8> = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
            (name.clone(), data.shape().to_vec(), bytes)
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let views =
        tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    let file = folder.path().join("foreign").display().to_string();
    fs::write(&file, bytes).unwrap();
    check(&file, &import(narrow()), "logits");
    let error = Weights::open(&file, None).unwrap_err().to_string();
    assert!(error.contains("safetensors file without configuration"), "{error}");

    // Names that Burn's recorders give the blocks.
    let blocks = narrow().plan.blocks();
    let burns = |name: &str| match name.split_once('.') {
        Some((block, rest)) => match blocks.iter().position(|row| row.name == block) {
            Some(index) => format!("blocks.{index}.{rest}"),
            None => name.to_owned(),
        },
        None => name.to_owned(),
    };
    let packed = tensors.iter().map(|(name, shape, bytes)| {
        let bytes = burn_pack::Bytes::from_bytes_vec(bytes.clone());
        burn_pack::Tensor::new(burns(name), burn_pack::DType::F32, shape.clone(), None, bytes)
    });
    let bytes = burn_pack::Writer::new(packed.collect()).into_bytes().unwrap();
    fs::write(&file, &*bytes).unwrap();
    check(&file, &import(narrow()), "logits");
}

#[test]
fn fix_gamma_takes_every_scale_as_one() {
    let import = Import { fix_gamma: true, ..import(Preset::MxNet.config().with_width(0.05)) };
    let weights = Weights::open(path("mxnet.params"), Some(&import)).unwrap();
    let (model, _) = weights.model(&Device::flex());
    for (name, data) in model.state() {
        if name.ends_with(".gamma") {
            assert!(data.iter::<f32>().all(|v| v == 1.0), "{name}");
        }
    }
}

#[test]
fn the_structure_of_the_onnx_zoos_network_loads() {
    let import = Import::new(Preset::Onnx.config(), Preprocess::onnx());
    let state = structure(&path("structure.onnx"), &import);
    // Caffe's two steps in one: 0.02 · 0.02 + 0.02.
    assert!(state["3a.conv_1x1.norm.beta"].iter::<f32>().all(|v| (v - 0.0204).abs() < 1e-6));
    // The same network as the onnx package ships it.
    let shipped = std::env::var("ONNX_LIGHT_INCEPTION_V2");
    match shipped {
        Ok(file) => drop(structure(&file, &import)),
        Err(_) => eprintln!("skipped: ONNX_LIGHT_INCEPTION_V2 does not name onnx's light_inception_v2.onnx"),
    }
}

fn structure(file: &str, import: &Import) -> State {
    let weights = Weights::open(file, Some(import)).unwrap();
    let (model, metadata) = weights.model(&Device::flex());
    assert_eq!(metadata.config, Preset::Onnx.config());
    let state = model.state();
    let filters = state.values().filter(|data| data.shape().num_dims() == 4);
    assert_eq!(filters.count(), 69);
    assert!(state["4d.pool_projection.weight"].iter::<f32>().all(|v| v == 0.02));
    assert_eq!(state["4d.pool_projection.weight"].shape().to_vec(), [96, 576, 1, 1]);
    state
}

#[test]
fn the_wrong_plan_is_refused_with_the_right_one() {
    let onnx = import(Preset::Onnx.config().with_width(0.125));
    let WeightsProblem::Import(ImportError::Tensors { missing, unused, shapes, .. }) = refused(&path("zip.pth"), &onnx)
    else {
        panic!("expected the differences by name");
    };
    assert!(missing.is_empty());
    assert_eq!(unused.len(), 69, "the preset has no biases: {unused:?}");
    assert!(shapes.iter().any(|shape| shape.key == "conv2_3x3.weight"));

    let WeightsProblem::Import(ImportError::Tensors { fitting, .. }) =
        refused(&path("zip.pth"), &import(Preset::Onnx.config().with_width(0.05)))
    else {
        panic!("expected the differences by name");
    };
    // Preset mxnet has the same tensors, but Cadene's names are not MXNet's.
    assert_eq!(fitting, [Preset::Caffe]);
    let full = Import::new(Preset::Caffe.config(), Preprocess::onnx());
    let problem = refused(&path("structure.onnx"), &full);
    assert!(problem.to_string().contains("fits preset onnx"), "{problem}");
    let WeightsProblem::Import(ImportError::Tensors { shapes, .. }) = problem else {
        panic!("expected the differences by name");
    };
    let key = "4c.pool_projection.weight (inception_4c/pool_proj_w_0)";
    assert!(shapes.iter().any(|shape| shape.key == key), "{shapes:?}");
}

/// A safetensors file of `cadene.safetensors` changed by `change`.
fn changed(change: impl Fn(&mut Vec<(String, Vec<usize>, Vec<u8>)>)) -> (tempfile::TempDir, String) {
    let bytes = fs::read(folder().join("cadene.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = file.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    let mut tensors: Vec<_> =
        floats.map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec())).collect();
    change(&mut tensors);
    let views =
        tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed").display().to_string();
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    (folder, path)
}

fn strings<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[test]
fn networks_are_found_inside_others() {
    let plain = import(narrow());
    for file in ["tsn.pth", "cadene_old.pth"] {
        check(&path(file), &plain, "logits_half");
    }
    let head = |name: &str| Import { head: Some(name.to_owned()), ..import(narrow()) };
    check(&path("xbm.pth"), &head("head.fc"), "logits_half");
    for without in ["last_linear", "model.last_linear"] {
        let import = Import { without: strings([without]), ..head("embedding") };
        check(&path("proxy_anchor.pth"), &import, "logits_half");
    }
    let text = refused(&path("xbm.pth"), &plain).to_string();
    for part in ["missing last_linear.bias", "unused head.fc.bias, head.fc.weight", "`--head head.fc`", "`--without"] {
        assert!(text.contains(part), "{text}");
    }
    let text = refused(&path("proxy_anchor.pth"), &plain).to_string();
    assert!(
        text.ends_with("unused embedding.bias, embedding.weight; `--without embedding` leaves a layer out"),
        "{text}"
    );
    let text = refused(&path("proxy_anchor.pth"), &head("embedding")).to_string();
    assert!(text.ends_with("unused last_linear.bias, last_linear.weight; `--without last_linear` leaves a layer out"));
    let text = refused(&path("xbm.pth"), &head("neck")).to_string();
    assert!(text.ends_with("no layer `neck` in the file; layers besides the network's: head.fc"), "{text}");
    let import = Import { without: strings(["neck"]), ..plain };
    assert!(refused(&path("xbm.pth"), &import).to_string().contains("no layer `neck`"));
}

#[test]
fn wrappers_come_in_any_order() {
    for wrappers in ["_orig_mod.module.", "module._orig_mod.", "model.module._orig_mod.", "net.encoder.0."] {
        let (_folder, file) = changed(|tensors| tensors.iter_mut().for_each(|(name, ..)| name.insert_str(0, wrappers)));
        check(&file, &import(narrow()), "logits");
    }
}

#[test]
fn a_head_without_bias_has_one_of_zero() {
    let (_folder, file) = changed(|tensors| {
        tensors.retain(|(name, ..)| name != "last_linear.bias");
        for (name, ..) in tensors.iter_mut().filter(|(name, ..)| name.starts_with("last_linear")) {
            *name = "neck.weight".to_owned();
        }
    });
    let import = Import { head: Some("neck".to_owned()), ..import(narrow()) };
    let weights = Weights::open(&file, Some(&import)).unwrap();
    assert!(weights.state()["classifier.bias"].iter::<f32>().eq([0.0; 5]));
}

#[test]
fn a_network_without_its_last_layer_has_features() {
    let whole = Weights::open(path("tsn.pth"), Some(&import(narrow()))).unwrap();
    let import = Import { without: strings(["new_fc"]), ..import(narrow()) };
    let text = refused(&path("tsn.pth"), &import).to_string();
    assert!(text.contains("missing last_linear.bias, last_linear.weight"), "{text}");
    let import = Import { allow_missing_classifier: true, ..import };
    let weights = Weights::open(path("tsn.pth"), Some(&import)).unwrap();
    assert!(whole.has_classifier() && !weights.has_classifier());
    assert_eq!(weights.metadata().labels[..2], ["class 0", "class 1"]);
    for (name, tensor) in whole.state().iter().filter(|(name, _)| !name.starts_with("classifier.")) {
        assert_eq!(weights.state().get(name), Some(tensor), "{name}");
    }
}

#[test]
fn names_give_the_preset_away() {
    let wrong = import(Preset::MxNet.config().with_width(0.05));
    let text = refused(&path("zip.pth"), &wrong).to_string();
    assert_eq!(text, "Cadene's names are those of preset caffe, not of mxnet: leave out `--preset mxnet`");
    let wrong = import(narrow());
    let text = refused(&path("mxnet.params"), &wrong).to_string();
    assert_eq!(text, "MXNet's names are those of preset mxnet, not of caffe: leave out `--preset caffe`");

    let named = Import::by_names(Preprocess::cadene());
    let named = Import { config: named.config.clone().with_width(0.05), ..named };
    for (file, preset) in [("zip.pth", Preset::Caffe), ("mxnet.params", Preset::MxNet), ("tsn.pth", Preset::Caffe)] {
        let weights = Weights::open(path(file), Some(&named)).unwrap();
        let config = preset.config().with_width(0.05).with_classes(5);
        assert_eq!(weights.metadata().config, config, "{file}");
    }
    let text = refused(&path("kept.onnx"), &named).to_string();
    assert!(text.ends_with("say which it is (`--preset`)"), "{text}");

    let text = Weights::open(path("zip.pth"), None).unwrap_err().to_string();
    let part =
        "but with Cadene's names, those of preset caffe: say which pixels it is for (`--preprocess cadene`, unless";
    assert!(text.contains(part), "{text}");
}

#[test]
fn nothing_is_missing_or_left_over() {
    let (_folder, file) = changed(|tensors| tensors.retain(|(name, ..)| !name.ends_with("running_var")));
    let problem = refused(&file, &import(narrow()));
    let WeightsProblem::Import(ImportError::Tensors { missing, unused, shapes, .. }) = problem else {
        panic!("expected the differences by name");
    };
    assert_eq!((missing.len(), unused.len(), shapes.len()), (69, 0, 0));
    assert!(missing.contains(&"inception_5b_pool_proj_bn.running_var".to_owned()));

    let (_folder, file) = changed(|tensors| tensors.push(("extra.weight".to_owned(), vec![1], vec![0; 4])));
    let problem = refused(&file, &import(narrow()));
    let WeightsProblem::Import(ImportError::Tensors { unused, .. }) = problem else {
        panic!("expected the differences by name");
    };
    assert_eq!(unused, ["extra.weight"]);

    let (_folder, file) = changed(|tensors| tensors.iter_mut().for_each(|(name, ..)| name.insert(0, 'x')));
    assert!(matches!(refused(&file, &import(narrow())), WeightsProblem::Import(ImportError::UnknownNames { .. })));
}

#[test]
fn a_missing_classifier_has_to_be_asked_for() {
    let (_folder, file) = changed(|tensors| tensors.retain(|(name, ..)| !name.starts_with("last_linear")));
    let plain = import(narrow());
    assert!(refused(&file, &plain).to_string().contains("missing last_linear.bias, last_linear.weight"));
    let tuned = Import { allow_missing_classifier: true, classes: Some(7), ..plain };
    let weights = Weights::open(&file, Some(&tuned)).unwrap();
    let (model, metadata) = weights.model(&Device::flex());
    assert_eq!(metadata.labels.len(), 7);
    let state = model.state();
    assert_eq!(state["classifier.weight"].shape().to_vec()[0], 7);
    assert!(state["classifier.weight"].iter::<f32>().any(|v| v != 0.0));
}

#[test]
fn the_file_says_how_many_classes() {
    let import = import(narrow());
    let weights = Weights::open(path("zip.pth"), Some(&import)).unwrap();
    assert_eq!(weights.metadata().labels, ["class 0", "class 1", "class 2", "class 3", "class 4"]);
    let five = Import { classes: Some(1000), ..import.clone() };
    assert!(refused(&path("zip.pth"), &five).to_string().contains("5 classes, expected 1000"));
    // A background class before ImageNet's shifts every label by one.
    let (_folder, file) = changed(|tensors| {
        for (name, shape, bytes) in tensors.iter_mut() {
            if name.starts_with("last_linear") {
                *bytes = vec![0; bytes.len() / shape[0] * 1001];
                shape[0] = 1001;
            }
        }
    });
    assert!(refused(&file, &import).to_string().contains("`--classes 1001`"));
    let meant = Import { classes: Some(1001), ..import };
    let weights = Weights::open(&file, Some(&meant)).unwrap();
    assert_eq!(weights.metadata().labels[..2], ["background", "tench"]);
}
