//! Folding: the same logits, on the engine and through Burn's operations.

use bn_inception::{
    Activation, Algorithm, BnInceptionConfig, EngineOptions, FoldedModel, Model, Normalization, Pooling, Preset, State,
    StemKind,
};
use burn::tensor::{Device, Tensor, TensorData};

use super::common::{lively, relative};

fn network(config: &BnInceptionConfig, device: &Device) -> Model {
    let model = config.init_seeded(device, 3).unwrap();
    let state = lively(&model);
    model.load_state(state).unwrap()
}

fn images(batch: usize, height: usize, width: usize, device: &Device) -> Tensor<4> {
    let wave = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
    let values: Vec<f32> = (0..batch * 3 * height * width).map(wave).collect();
    Tensor::from_data(TensorData::new(values, [batch, 3, height, width]), device)
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter().collect()
}

fn narrow(preset: Preset) -> BnInceptionConfig {
    preset.config().with_width(0.25).with_classes(11)
}

fn variants() -> Vec<(String, BnInceptionConfig)> {
    let mut variants: Vec<_> = Preset::ALL.into_iter().map(|preset| (preset.to_string(), narrow(preset))).collect();
    let caffe = || narrow(Preset::Caffe);
    variants.push(("sigmoid".to_owned(), caffe().with_activation(Activation::Sigmoid)));
    variants.push(("inception".to_owned(), caffe().with_normalization(Normalization::LocalResponse)));
    variants.push((
        "inception, separable".to_owned(),
        caffe().with_normalization(Normalization::LocalResponse).with_stem(StemKind::Separable),
    ));
    variants
}

#[test]
fn every_variant_gives_the_same_logits() {
    let device = Device::flex();
    for (name, config) in variants() {
        let model = network(&config, &device);
        let folded = model.fold();
        let expects_engine =
            config.activation == Activation::Relu && config.normalization != Normalization::LocalResponse;
        assert_eq!(folded.engine().is_some(), expects_engine, "{name}");
        for [batch, height, width] in [[1, 64, 64], [3, 64, 64], [2, 47, 75], [1, 32, 33]] {
            let x = images(batch, height, width, &device);
            let expected = host(model.forward(x.clone()));
            let error = relative(&host(folded.forward(x)), &expected);
            assert!(error < 1e-5, "{name} {batch}x{height}x{width}: {error:e}");
        }
    }
}

#[test]
fn end_points_are_those_of_the_unfolded_model() {
    let device = Device::flex();
    for (name, config) in variants() {
        let model = network(&config, &device);
        let folded = model.fold();
        for [batch, height, width] in [[3, 47, 75], [17, 32, 33]] {
            let x = images(batch, height, width, &device);
            let features = model.features(x.clone());
            for end_point in ["stem", "3a", "3c", "4e", "5b"] {
                let what = format!("{name} {end_point} {batch}x{height}x{width}");
                let expected = features.get(end_point).unwrap().clone();
                let found = folded.features(x.clone(), end_point).unwrap();
                assert_eq!(found.dims(), expected.dims(), "{what}");
                let means = expected.clone().mean_dims(&[2, 3]).flatten::<2>(1, 3);
                let error = relative(&host(found), &host(expected.clone()));
                assert!(error < 1e-5, "{what}: {error:e}");
                let found = folded.embed(x.clone(), end_point, Pooling::Average).unwrap();
                assert_eq!(found.dims(), means.dims(), "{what}");
                let error = relative(&host(found), &host(means.clone()));
                assert!(error < 1e-5, "means of {what}: {error:e}");
                let [n, c, h, w] = expected.dims();
                let maxima = expected.reshape([n, c, h * w]).max_dim(2).flatten::<2>(1, 2);
                let found = folded.embed(x.clone(), end_point, Pooling::Max).unwrap();
                assert!(relative(&host(found), &host(maxima.clone())) < 1e-5, "maxima of {what}");
                let found = folded.embed(x.clone(), end_point, Pooling::Sum).unwrap();
                assert!(relative(&host(found), &host(maxima.clone() + means.clone())) < 1e-5, "sums of {what}");
                if end_point == "5b" {
                    for (pooling, pooled) in [
                        (Pooling::Average, means.clone()),
                        (Pooling::Max, maxima.clone()),
                        (Pooling::Sum, maxima + means),
                    ] {
                        let found = folded.embed(x.clone(), "classifier", pooling).unwrap();
                        let expected = model.classifier.classify(pooled);
                        assert!(relative(&host(found), &host(expected)) < 1e-5, "{pooling} and classifier of {what}");
                    }
                }
            }
        }
    }
}

#[test]
fn end_points_are_known_by_name_and_need_no_graph() {
    let device = Device::flex().autodiff();
    let model = network(&narrow(Preset::Caffe), &device);
    let folded = model.fold();
    let x = images(2, 64, 64, &device);
    assert!(!folded.features(x.clone(), "4a").unwrap().is_autodiff());
    assert!(!folded.embed(x.clone(), "4a", Pooling::Average).unwrap().is_autodiff());
    for message in [
        folded.features(x.clone(), "6a").unwrap_err().to_string(),
        folded.embed(x, "6a", Pooling::Average).unwrap_err().to_string(),
    ] {
        assert!(message.starts_with("unknown end point `6a`, expected one of: stem, 3a"), "{message}");
    }
}

#[test]
fn burns_operations_and_the_engine_agree_on_the_folded_state() {
    let device = Device::flex();
    for (name, config) in variants() {
        let folded = network(&config, &device).fold();
        let through_burn = folded.config().init(&device).unwrap();
        let through_burn = through_burn.load_state(folded.state()).unwrap();
        let x = images(2, 64, 64, &device);
        let expected = host(through_burn.forward(x.clone()));
        let error = relative(&host(folded.forward(x.clone())), &expected);
        assert!(error < 1e-5, "{name}: {error:e}");
        // A folded network stays as it is.
        assert_eq!(through_burn.fold().state(), folded.state(), "{name}");
    }
}

#[test]
fn folding_leaves_fewer_values() {
    let device = Device::flex();
    let values = |state: &State| -> usize { state.values().map(TensorData::num_elements).sum() };
    let model = Preset::Caffe.config().init(&device).unwrap();
    let (unfolded, folded) = (values(&model.state()), values(&model.fold().state()));
    // 10,016 channels, each with γ, β, mean and variance; the bias stays.
    assert_eq!(unfolded - folded, 4 * 10_016);
}

#[test]
fn small_batches_and_algorithms_agree() {
    let device = Device::flex();
    let model = network(&narrow(Preset::Caffe), &device);
    let x = images(5, 64, 64, &device);
    let expected = host(model.forward(x.clone()));
    for algorithm in [Algorithm::Direct, Algorithm::F2, Algorithm::F4] {
        let options = EngineOptions { algorithm: Some(algorithm), ..EngineOptions::default() };
        let folded = FoldedModel::new(model.config(), model.state(), &device, &options);
        let error = relative(&host(folded.unwrap().forward(x.clone())), &expected);
        assert!(error < 1e-5, "{algorithm:?}: {error:e}");
    }
    assert!(host(model.fold().forward(images(0, 64, 64, &device))).is_empty());
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let device = Device::flex();
    let config = narrow(Preset::Caffe);
    let whole = network(&config, &device).state();
    let fold = |state| {
        let folded = FoldedModel::new(&config, state, &device, &EngineOptions::default());
        folded.unwrap_err().to_string()
    };
    let mut state = whole.clone();
    state.remove("4c.conv_3x3.norm.running_var");
    assert!(fold(state).contains("missing 4c.conv_3x3.norm.running_var"));
    let mut state = whole;
    state.insert("4c.conv_3x3.bias".to_owned(), TensorData::zeros::<f32, _>([7]));
    assert!(fold(state).contains("4c.conv_3x3.bias"));
}

#[test]
fn nothing_leaks_through_a_training_device() {
    let device = Device::flex().autodiff();
    let config = narrow(Preset::Caffe);
    let model = network(&config, &device);
    let before = model.state();
    let x = images(2, 64, 64, &device);
    let logits = model.fold().forward(x);
    assert!(!logits.is_autodiff());
    assert_eq!(model.state(), before, "running statistics stay");
}
