//! New classes on trained weights, and a frozen part.

use bn_inception::{Model, Preset, State};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

fn trained() -> Model {
    let config = Preset::Small.config().with_width(0.1).with_classes(6);
    config.init_seeded(&Device::flex().autodiff(), 4).unwrap()
}

fn images() -> Tensor<4> {
    let values: Vec<f32> = (0..4 * 3 * 28 * 28).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    Tensor::<1>::from_data(values.as_slice(), &Device::flex()).reshape([4, 3, 28, 28])
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Bits of the tensors that are `wanted`.
fn bits(state: &State, wanted: impl Fn(&str) -> bool) -> Vec<(String, Vec<u32>)> {
    let wanted = state.iter().filter(|(name, _)| wanted(name));
    wanted.map(|(name, data)| (name.clone(), data.iter::<f32>().map(f32::to_bits).collect())).collect()
}

fn of_classifier(name: &str) -> bool {
    name.starts_with("classifier.")
}

#[test]
fn only_the_classifier_is_new() {
    let before = trained().state();
    let model = trained().with_classes_seeded(9, 1).unwrap();
    let after = model.state();
    assert_eq!(bits(&after, |name| !of_classifier(name)), bits(&before, |name| !of_classifier(name)));
    assert_eq!(model.config(), &trained().config().clone().with_classes(9));
    assert_eq!(model.forward(images().autodiff()).dims(), [4, 9]);

    // As drawn for a network of nine classes, from the seed alone.
    let drawn = model.config().init_seeded(&Device::flex(), 1).unwrap();
    assert_eq!(bits(&after, of_classifier), bits(&drawn.state(), of_classifier));
    let other = trained().with_classes_seeded(9, 2).unwrap().state();
    assert_ne!(bits(&other, of_classifier), bits(&after, of_classifier));
    let default = trained().with_classes(9).unwrap().state();
    let zero = trained().with_classes_seeded(9, 0).unwrap().state();
    assert_eq!(bits(&default, |_| true), bits(&zero, |_| true));

    let message = trained().with_classes(1).unwrap_err().to_string();
    assert!(message.contains("classes is 1"), "{message}");
}

#[test]
fn the_frozen_part_computes_as_in_inference_and_has_no_gradient() {
    for (end_point, frozen) in [("stem", 1), ("3c", 4), ("5b", 11)] {
        let model = trained().freeze_through(end_point).unwrap();
        let before = model.state();
        let names = ["stem", "3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"];
        let inference = model.valid().features(images());
        let training = model.features(images().autodiff());
        for (index, name) in names.into_iter().enumerate() {
            let (expected, found) = (inference.get(name).unwrap(), training.get(name).unwrap());
            assert!(found.device().is_autodiff(), "{name}");
            let same = host(found.clone()) == host(expected.clone());
            assert_eq!(same, index < frozen, "{end_point} frozen: {name}");
            assert_eq!(model.is_frozen(&format!("{name}.conv1.weight")), index < frozen);
        }
        assert!(!model.is_frozen("classifier.weight"));

        let loss = model.forward(images().autodiff()).powi_scalar(2).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let stem = gradients.get::<4>(model.stem.conv1.weight.id);
        assert!(stem.is_none(), "{end_point}");
        let last = gradients.get::<4>(model.blocks[9].conv_3x3.weight.id);
        assert_eq!(last.is_none(), end_point == "5b");
        assert!(gradients.get::<2>(model.classifier.weight.id).is_some());

        let after = model.state();
        let is_frozen = |name: &str| model.is_frozen(name);
        assert_eq!(bits(&after, is_frozen), bits(&before, is_frozen));
        let statistic = |name: &str| name.ends_with("running_mean") && !model.is_frozen(name);
        for (before, after) in bits(&before, statistic).iter().zip(bits(&after, statistic)) {
            assert_ne!(before.1, after.1, "{}", before.0);
        }
    }
}

#[test]
fn freezing_adds_up_and_survives_a_new_classifier() {
    let model = trained().freeze_through("4a").unwrap().freeze_through("3a").unwrap();
    assert!(model.is_frozen("4a.conv_1x1.weight"), "what was frozen stays frozen");
    let model = model.with_classes(3).unwrap();
    assert!(model.is_frozen("4a.conv_1x1.weight") && !model.is_frozen("4b.conv_1x1.weight"));

    let message = trained().freeze_through("6a").unwrap_err().to_string();
    assert_eq!(message, "unknown end point `6a`, expected one of: stem, 3a, 3b, 3c, 4a, 4b, 4c, 4d, 4e, 5a, 5b");
}

#[test]
fn presets_are_recognised_whatever_is_trained_on_them() {
    for preset in Preset::ALL {
        let config = preset.config().with_classes(7).with_width(0.5).with_dropout(0.3);
        let found = Preset::of(&config).unwrap();
        // Presets that differ in size alone cannot be distinguished by the remaining fields.
        assert_eq!(found.config().plan, preset.config().plan);
        assert_eq!(found.config().stem, preset.config().stem);
    }
    let other = Preset::Caffe.config().with_average_includes_padding(false);
    assert_eq!(Preset::of(&other), None);
}
