//! Classifying images from any source, in batches, by several crops and several models.

use std::io::Cursor;
use std::path::Path;

use bn_inception::data::DecodeError;
use bn_inception::weights::Metadata;
use bn_inception::{
    Crops, Ensemble, EnsembleError, ImageClassifier, ImageSource, PredictError, Prediction, Preprocess, Preset,
};
use burn::tensor::Device;
use image::{ImageFormat, Rgb, RgbImage};

/// An untrained network, with weights drawn from `seed`.
fn classifier(seed: u64, labels: &[&str], preprocess: Preprocess) -> ImageClassifier {
    let config = Preset::Small.config().with_width(0.1).with_classes(labels.len());
    let device = Device::flex();
    let model = config.init_seeded(&device, seed).unwrap();
    let metadata = Metadata {
        config,
        preprocess: Preprocess { size: 28, ..preprocess },
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        temperature: None,
        facts: serde_json::Map::new(),
    };
    ImageClassifier::new(model.fold(), metadata, &device)
}

const LABELS: [&str; 4] = ["cat", "dog", "crane", "car"];

fn pattern(index: u32) -> RgbImage {
    let size = 30 + 7 * (index % 5);
    RgbImage::from_fn(size, 47, |x, y| {
        let value = |step: u32| ((x * step + y * (index + 3)) % 256) as u8;
        Rgb([value(3 + index), value(11), value(5 * index)])
    })
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The same classes with probabilities that agree up to rounding: the engine may compute a batch in another order.
fn assert_same(found: &[Prediction], expected: &[Prediction]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.class, &found.label), (expected.class, &expected.label));
        let difference = (found.probability - expected.probability).abs();
        assert!(difference < 1e-5, "{found:?} is not {expected:?}");
    }
}

#[test]
fn an_image_is_the_same_wherever_it_is() {
    let classifier = classifier(1, &LABELS, Preprocess::imagenet(28));
    let image = pattern(4);
    let expected = classifier.predict(&image, 2).unwrap();
    assert_eq!(expected.len(), 2);
    assert!(expected[0].probability >= expected[1].probability);
    assert_eq!(expected[0].label, LABELS[expected[0].class]);
    let all = classifier.predict(&image, 99).unwrap();
    let sum: f32 = all.iter().map(|prediction| prediction.probability).sum();
    assert!(all.len() == 4 && (sum - 1.0).abs() < 1e-6, "{all:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.of.no.extension");
    let bytes = png(&image);
    std::fs::write(&path, &bytes).unwrap();
    let pixels = ImageSource::Rgb { width: image.width(), height: image.height(), pixels: image.as_raw() };
    assert_eq!(classifier.predict(&bytes, 2).unwrap(), expected);
    assert_eq!(classifier.predict(bytes.as_slice(), 2).unwrap(), expected);
    assert_eq!(classifier.predict(&path, 2).unwrap(), expected);
    assert_eq!(classifier.predict(path.to_str().unwrap(), 2).unwrap(), expected);
    assert_eq!(classifier.predict(pixels, 2).unwrap(), expected);
}

#[test]
fn what_is_no_image_is_a_typed_error() {
    let classifier = classifier(1, &LABELS, Preprocess::imagenet(28));
    let pixels = |width, height, pixels| ImageSource::Rgb { width, height, pixels };
    let error = classifier.predict(pixels(4, 2, &[0; 23]), 1).unwrap_err();
    assert_eq!(error.to_string(), "4x2 RGB pixels are 24 bytes, found 23");
    // A product over 32 bits must not wrap to the right length.
    let error = classifier.predict(pixels(1 << 31, 2, &[]), 1).unwrap_err();
    assert!(matches!(error, PredictError::Pixels { found: 0, .. }), "{error}");
    let error = classifier.predict(pixels(0, 0, &[]), 1).unwrap_err();
    assert!(matches!(error, PredictError::Preprocess(_)), "{error}");
    let error = classifier.predict(&b"<html>"[..], 1).unwrap_err();
    assert!(matches!(error, PredictError::Bytes(DecodeError::UnknownFormat { .. })), "{error}");
    let error = classifier.predict("nowhere.jpg", 1).unwrap_err();
    assert!(error.to_string().starts_with("nowhere.jpg: cannot be read"), "{error}");
}

#[test]
fn a_batch_is_answered_as_its_images_one_by_one() {
    let classifier = classifier(2, &LABELS, Preprocess::tf_slim());
    // More than one batch, the last one not full, with two files that are not images.
    let images: Vec<RgbImage> = (0..37).map(pattern).collect();
    let bad = Path::new("nowhere.png");
    let sources = images.iter().enumerate().map(|(index, image)| match index {
        3 => ImageSource::Path(bad),
        20 => ImageSource::Bytes(b"no image"),
        _ => image.into(),
    });
    let answers = classifier.predict_batch(sources, 3);
    assert_eq!(answers.len(), images.len());
    for (index, (answer, image)) in answers.iter().zip(&images).enumerate() {
        match (index, answer) {
            (3, Err(PredictError::File { path, .. })) => assert_eq!(path, bad),
            (20, Err(PredictError::Bytes(_))) => (),
            (_, Ok(answer)) => assert_same(answer, &classifier.predict(image, 3).unwrap()),
            (_, Err(error)) => panic!("image {index}: {error}"),
        }
    }
    assert!(classifier.predict_batch::<&RgbImage>([], 3).is_empty());
}

#[test]
fn crops_are_averaged() {
    let classifier = classifier(3, &LABELS, Preprocess::imagenet(28));
    let image = pattern(1);
    for crops in [Crops::Single, Crops::Ten, Crops::Many] {
        let ensemble = Ensemble::new(vec![classifier.clone()], crops).unwrap();
        let found = ensemble.predict(&image, 4).unwrap();

        // Each view classified by itself, as an image that already has the right size.
        let mut mean = [0.0; 4];
        for (view, count) in crops.render(&image, &classifier.metadata().preprocess).unwrap() {
            for prediction in classifier.predict(&view, 4).unwrap() {
                mean[prediction.class] += prediction.probability * count as f32;
            }
        }
        for prediction in found {
            let expected = mean[prediction.class] / crops.count() as f32;
            assert!((prediction.probability - expected).abs() < 1e-5, "{crops}: {prediction:?}");
        }
    }
}

#[test]
fn an_ensemble_averages_models_with_their_own_preprocessing_and_order() {
    let first = classifier(1, &LABELS, Preprocess::cadene());
    let second = classifier(2, &["car", "crane", "cat", "dog"], Preprocess::imagenet(28));
    let ensemble = Ensemble::new(vec![first.clone(), second.clone()], Crops::Single).unwrap();
    assert_eq!(ensemble.labels(), LABELS);
    let image = pattern(2);
    let of = |classifier: &ImageClassifier, label: &str| {
        let all = classifier.predict(&image, 4).unwrap();
        let mut found = all.into_iter().filter(|prediction| prediction.label == label);
        found.next().unwrap().probability
    };
    let found = ensemble.predict(&image, 4).unwrap();
    assert!(found.windows(2).all(|pair| pair[0].probability >= pair[1].probability));
    for prediction in found {
        let expected = (of(&first, &prediction.label) + of(&second, &prediction.label)) / 2.0;
        assert!((prediction.probability - expected).abs() < 1e-5, "{prediction:?}");
        assert_eq!(prediction.label, LABELS[prediction.class]);
    }
}

#[test]
fn batches_of_views_do_not_matter() {
    let members = vec![classifier(1, &LABELS, Preprocess::cadene()), classifier(2, &LABELS, Preprocess::tf_slim())];
    let ensemble = Ensemble::new(members, Crops::Ten).unwrap();
    let views: Vec<_> = (0..3).map(|index| ensemble.views(&pattern(index)).unwrap()).collect();
    let whole = ensemble.probabilities(&views, 64).unwrap();
    for (batch, image) in [(1, 0), (3, 1), (7, 2)] {
        let found = ensemble.probabilities(&views, batch).unwrap();
        for (found, expected) in found[image].iter().zip(&whole[image]) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }
}

#[test]
fn models_of_other_classes_are_refused() {
    let first = classifier(1, &LABELS, Preprocess::cadene());
    let second = classifier(2, &["cat", "dog", "crane", "plane"], Preprocess::cadene());
    let error = Ensemble::new(vec![first, second], Crops::Single).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model 2 of the ensemble has other classes than the first: it lacks `car`; only it has `plane`"
    );
    let error = Ensemble::new(Vec::new(), Crops::Single).unwrap_err();
    assert!(matches!(error, EnsembleError::Empty), "{error}");
}
