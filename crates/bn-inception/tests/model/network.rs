//! The published networks: parameter counts, shapes, and every variant of the paper.

use std::collections::BTreeMap;

use bn_inception::{
    Activation, BnInceptionConfig, Model, Normalization, Preset, StateError, StemKind, StridedPadding, TensorRole,
};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

fn model(config: &BnInceptionConfig) -> Model {
    config.init(&Device::flex()).unwrap()
}

fn learned(config: &BnInceptionConfig) -> usize {
    model(config).summary(config.input_size).parameters()
}

/// Number of values in the tensors whose names `count` accepts.
fn values(model: &Model, count: impl Fn(&str) -> bool) -> usize {
    let tensors = model.state().into_iter();
    let counted = tensors.filter(|(name, _)| count(name));
    counted.map(|(_, data)| data.num_elements()).sum()
}

#[test]
fn parameter_counts_are_the_published_ones() {
    let thousand = |preset: Preset| preset.config().with_classes(1000);
    let paper = thousand(Preset::Paper);
    let onnx = thousand(Preset::Onnx);
    for (what, config, expected) in [
        // osmr/imgclsmob prints this figure; so do MXNet's shapes.
        ("caffe", thousand(Preset::Caffe), 11_295_240),
        ("mxnet", thousand(Preset::MxNet), 11_295_240),
        ("608, plain, no bias", paper.clone().with_stem(StemKind::Plain), 11_285_224),
        ("paper", paper, 11_278_528),
        ("onnx", onnx.clone(), 11_194_984),
        ("576, separable, no bias", onnx.with_stem(StemKind::Separable), 11_188_288),
    ] {
        assert_eq!(learned(&config), expected, "{what}");
    }
}

#[test]
fn running_statistics_are_counted_apart() {
    let statistics = |preset: Preset| {
        let model = model(&preset.config());
        values(&model, |name| TensorRole::of(name) == TensorRole::Statistic)
    };
    assert_eq!(statistics(Preset::Caffe), 20_032);
    assert_eq!(statistics(Preset::Onnx), 19_904);
}

#[test]
fn tf_slim_has_the_model_variables_of_its_own_test() {
    // Its base network: filters, the stem's bias, β, moving mean and variance; no γ.
    let model = model(&Preset::TfSlim.config());
    let base = values(&model, |name| !name.starts_with("classifier"));
    assert_eq!(base, 10_173_112);
    let gammas = values(&model, |name| name.ends_with("gamma"));
    assert_eq!(gammas, 0);
}

#[test]
fn small_is_mxnets_network_for_28_pixels() {
    // Filters of symbols/inception-bn.py, 28-pixel branch, each convolution with bias, γ and β.
    let rows: [(usize, &[(usize, usize)]); 11] = [
        (3, &[(96, 3)]),
        (96, &[(32, 1), (32, 3)]),
        (64, &[(32, 1), (48, 3)]),
        (80, &[(80, 3)]),
        (160, &[(112, 1), (48, 3)]),
        (160, &[(96, 1), (64, 3)]),
        (160, &[(80, 1), (80, 3)]),
        (160, &[(48, 1), (96, 3)]),
        (144, &[(96, 3)]),
        (240, &[(176, 1), (160, 3)]),
        (336, &[(176, 1), (160, 3)]),
    ];
    let convolutions: usize = rows
        .iter()
        .flat_map(|(input, branches)| branches.iter().map(move |(out, k)| out * input * k * k + 3 * out))
        .sum();
    assert_eq!(learned(&Preset::Small.config()), convolutions + 336 * 10 + 10);
}

#[test]
fn caffe_needs_two_billion_multiply_adds() {
    let summary = model(&Preset::Caffe.config()).summary(224);
    let billions = summary.multiply_adds() as f64 / 1e9;
    assert!((2.03..2.04).contains(&billions), "{billions}");
    let shapes: Vec<_> = summary.rows.iter().map(|row| (row.name.as_str(), row.output)).collect();
    assert_eq!(
        shapes,
        [
            ("stem", [192, 28, 28]),
            ("3a", [256, 28, 28]),
            ("3b", [320, 28, 28]),
            ("3c", [576, 14, 14]),
            ("4a", [576, 14, 14]),
            ("4b", [576, 14, 14]),
            ("4c", [608, 14, 14]),
            ("4d", [608, 14, 14]),
            ("4e", [1056, 7, 7]),
            ("5a", [1024, 7, 7]),
            ("5b", [1024, 7, 7]),
            ("classifier", [1000, 1, 1]),
        ]
    );
    let text = model(&Preset::Caffe.config()).to_string();
    assert!(text.contains("2032.60 M") && text.contains("11295240"), "{text}");
}

#[test]
fn the_summary_tells_the_shapes_of_a_real_forward_pass() {
    for preset in Preset::ALL {
        let config = preset.config().with_width(0.125).with_classes(7);
        let model = model(&config);
        for size in [config.smallest_input(), 45, 64] {
            let x = Tensor::zeros([1, 3, size, size], &Device::flex());
            let features = model.features(x.clone());
            let summary = model.summary(size);
            for row in &summary.rows {
                if let Some(tensor) = features.get(&row.name) {
                    let [_, c, h, w] = tensor.dims();
                    assert_eq!([c, h, w], row.output, "{preset} {size} {}", row.name);
                }
            }
            assert_eq!(features.iter().last().unwrap().0, "5b");
            assert_eq!(model.forward(x).dims(), [1, 7], "{preset} {size}");
        }
    }
}

#[test]
fn every_variant_of_the_paper_trains_a_step() {
    let device = Device::flex().autodiff();
    let base = Preset::Paper.config().with_width(0.125).with_classes(3);
    let plain = base.clone().with_normalization(Normalization::LocalResponse);
    for (what, config) in [
        ("BN-Baseline", base.clone()),
        ("Inception", plain.with_dropout(0.4)),
        ("BN-x5-Sigmoid", base.clone().with_activation(Activation::Sigmoid)),
        ("TF padding", base.with_strided_padding(StridedPadding::Same)),
    ] {
        let model = config.init(&device).unwrap();
        let x = Tensor::<4>::ones([2, 3, 32, 32], &device);
        let gradients = model.forward(x).powf_scalar(2.0).mean().backward();
        let gradient = model.stem.conv1.weight.grad(&gradients).unwrap();
        let sum = gradient.abs().sum().into_data().iter::<f32>().next().unwrap();
        assert!(sum.is_finite(), "{what}: {sum}");
    }
}

#[test]
fn weights_depend_on_the_seed_alone() {
    let config = Preset::Small.config().with_width(0.25);
    let draw = |seed| config.init_seeded(&Device::flex(), seed).unwrap().state();
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
}

#[test]
fn a_state_that_does_not_fit_is_refused_by_name() {
    let config = Preset::Small.config().with_width(0.25);
    let full = model(&config).state();
    let error = |state| model(&config).load_state(state).unwrap_err();

    let mut state = full.clone();
    let bias = state.remove("classifier.bias").unwrap();
    state.insert("classifier.offset".to_owned(), bias);
    let expected = StateError::Names {
        missing: vec!["classifier.bias".to_owned()],
        unexpected: vec!["classifier.offset".to_owned()],
    };
    assert_eq!(error(state), expected);

    let eleven = model(&config.clone().with_classes(11));
    let message = error(eleven.state()).to_string();
    assert!(message.contains("classifier.bias") && message.contains("[11]"), "{message}");
}

#[test]
fn configurations_that_are_no_network_are_refused() {
    let config = || Preset::Caffe.config();
    for (field, config) in [
        ("width", config().with_width(f64::NAN)),
        ("classes", config().with_classes(1)),
        ("dropout", config().with_dropout(1.0)),
        ("input_size", config().with_input_size(31)),
    ] {
        let error = config.init(&Device::flex()).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    assert!("caffee".parse::<Preset>().unwrap_err().to_string().contains("caffe"));
}

#[test]
fn the_default_configuration_is_the_caffe_preset() {
    assert_eq!(BnInceptionConfig::new(), Preset::Caffe.config());
    let json = serde_json::to_string(&Preset::TfSlim.config()).unwrap();
    let read: BnInceptionConfig = serde_json::from_str(&json).unwrap();
    assert_eq!(read, Preset::TfSlim.config());
}

#[test]
fn frozen_layers_keep_their_statistics() {
    let device = Device::flex().autodiff();
    let config = Preset::Small.config().with_width(0.25);
    let statistics = |model: &Model| -> BTreeMap<_, _> {
        let state = model.state().into_iter();
        state.filter(|(name, _)| TensorRole::of(name) == TensorRole::Statistic).collect()
    };
    let frozen = config.init(&device).unwrap().freeze();
    let before = statistics(&frozen);
    frozen.forward(Tensor::ones([2, 3, 28, 28], &device));
    assert_eq!(statistics(&frozen), before);

    let trained = config.init(&device).unwrap();
    trained.forward(Tensor::ones([2, 3, 28, 28], &device));
    assert_ne!(statistics(&trained), before, "up to date right after the forward pass");
}
