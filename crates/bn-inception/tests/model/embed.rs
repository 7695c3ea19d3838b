//! Images and arrays as vectors, files of vectors, and nearest neighbours.

use std::fs;
use std::path::{Path, PathBuf};

use bn_inception::data::{Input, InputError, View, write_npy};
use bn_inception::weights::{Import, Metadata, Weights};
use bn_inception::{
    EmbedError, Embeddings, EmbeddingsInfo, ImageEmbedder, LeftOut, NeighbourSearch, Pooling, Preprocess, Preset,
};
use burn::tensor::Device;
use image::{Rgb, RgbImage};

use super::common::{formula, relative};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bn-inception-formats/tests/fixtures").join(name)
}

fn flow() -> Weights {
    let import = Import::new(Preset::Caffe.config().with_width(0.05), Preprocess::flow());
    Weights::open(fixture("flow.pth"), Some(&import)).unwrap()
}

#[test]
fn features_of_an_array_of_flow_are_pytorchs() {
    let text = fs::read_to_string(fixture("flow_features.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = |key: &str| serde_json::from_value::<Vec<Vec<f32>>>(expected[key].clone()).unwrap();
    // An array as `numpy.save` writes it.
    let inputs = Input::read(fixture("flow.npy")).unwrap();
    assert_eq!(inputs.iter().map(|input| input.shape).collect::<Vec<_>>(), [[10, 32, 64]; 2]);
    for (key, end_point, pooling) in [
        ("average", "5b", Pooling::Average),
        ("max", "5b", Pooling::Max),
        ("classifier of sum", "classifier", Pooling::Sum),
    ] {
        let embedder = ImageEmbedder::from_weights(flow(), pooling, &Device::flex()).unwrap();
        let embedder = embedder.with_end_point(end_point).unwrap();
        let found = embedder.embed_inputs(&inputs).unwrap();
        for (found, expected) in found.iter().zip(expected(key)) {
            assert_eq!(found.len(), embedder.dimension());
            let error = relative(found, &expected);
            println!("{key}: {error:.1e}");
            assert!(error < 1e-4, "{key}: {error:.1e}");
        }
    }
}

#[test]
fn inputs_of_other_networks_are_refused() {
    let embedder = ImageEmbedder::from_weights(flow(), Pooling::Average, &Device::flex()).unwrap();
    let input = |shape: [usize; 3]| Input { shape, values: vec![0.0; shape.iter().product()] };
    assert!(embedder.embed_inputs(&[]).unwrap().is_empty());
    for shape in [[3, 64, 64], [10, 31, 64], [10, 64, 1], [10, 32, 5000]] {
        let error = embedder.embed_inputs(&[input([10, 32, 32]), input(shape)]).unwrap_err();
        assert!(matches!(error, EmbedError::Input { channels: 10, smallest: 32, .. }), "{error}");
    }
    let error = embedder.embed([&RgbImage::new(50, 50)]).unwrap_err().to_string();
    assert_eq!(error, "an input of shape [3, 224, 224], expected 10 channels of 32 to 4096 pixels a side");
    let error = embedder.with_end_point("5c").unwrap_err().to_string();
    assert!(error.ends_with("5a, 5b, classifier"), "{error}");
    assert!(matches!(Input::read(fixture("flow.pth")), Err(InputError::Array(_))));
}

fn embedder(pooling: Pooling) -> ImageEmbedder {
    let config = Preset::Small.config().with_width(0.1).with_classes(3);
    let model = config.init_seeded(&Device::flex(), 1).unwrap();
    let metadata = Metadata {
        config,
        preprocess: Preprocess::imagenet(28),
        labels: ["a", "b", "c"].map(str::to_owned).to_vec(),
        temperature: None,
        facts: serde_json::Map::new(),
    };
    let weights = Weights::from_model(&model, metadata).unwrap();
    ImageEmbedder::from_weights(weights, pooling, &Device::flex()).unwrap()
}

fn pattern(index: u32) -> RgbImage {
    RgbImage::from_fn(50 + index % 3, 31, |x, y| Rgb([(x * (index + 3)) as u8, (y * 7) as u8, (x * y) as u8]))
}

#[test]
fn images_of_any_size_are_embedded_in_order() {
    let images: Vec<RgbImage> = (0..37).map(pattern).collect();
    for view in [View::Crop, View::Whole] {
        let embedder = embedder(Pooling::Sum).with_view(view).with_end_point("4c").unwrap();
        let vectors = embedder.embed(&images).unwrap();
        assert_eq!(vectors.len(), images.len());
        for (image, vector) in images.iter().zip(&vectors) {
            let alone = embedder.embed([image]).unwrap();
            // The engine may compute a batch in another order.
            assert!(relative(&alone[0], vector) < 1e-5);
        }
        let unit = embedder.clone().normalised(true).embed(&images[..3]).unwrap();
        for (unit, vector) in unit.iter().zip(&vectors) {
            let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            assert!((length(unit) - 1.0).abs() < 1e-5);
            assert!(relative(&unit.iter().map(|value| value * length(vector)).collect::<Vec<_>>(), vector) < 1e-5);
        }
    }
    let error = embedder(Pooling::Max).embed(["nowhere.jpg"]).unwrap_err().to_string();
    assert!(error.starts_with("nowhere.jpg: cannot be read"), "{error}");
}

#[test]
fn vectors_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let info = EmbeddingsInfo {
        weights: "imagenette".to_owned(),
        end_point: "5b".to_owned(),
        pooling: Pooling::Max,
        normalised: false,
        whole_image: true,
        names: vec!["a \"b\".jpg".to_owned(), "c#1".to_owned()],
        left_out: vec![LeftOut { file: "d.txt".to_owned(), reason: "no image".to_owned() }],
    };
    let embeddings = Embeddings { dimension: 3, values: (0..6).map(|v| v as f32).collect(), info: Some(info) };
    for name in ["x.npy", "x.safetensors"] {
        let path = folder.path().join(name);
        embeddings.save(&path).unwrap();
        assert_eq!(Embeddings::read(&path).unwrap(), embeddings);
        let bytes = fs::read(&path).unwrap();
        embeddings.save(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    let path = folder.path().join("y.npy");
    fs::write(&path, fs::read(folder.path().join("x.npy")).unwrap()).unwrap();
    let plain = Embeddings::read(&path).unwrap();
    assert_eq!((plain.rows(), plain.name(1), plain.info), (2, "1".to_owned(), None));
    let error = |path: &Path| Embeddings::read(path).unwrap_err().to_string();
    fs::write(folder.path().join("y.npy.json"), fs::read(folder.path().join("x.npy.json")).unwrap()).unwrap();
    let mut bytes = Vec::new();
    write_npy(&mut bytes, &[1, 3], &[0.0; 3]).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert!(error(&path).ends_with("y.npy.json: 2 names for 1 rows"), "{}", error(&path));
    fs::write(folder.path().join("y.npy.json"), "{").unwrap();
    assert!(error(&path).contains("y.npy.json: EOF"), "{}", error(&path));
    assert!(error(&folder.path().join("x.txt")).contains(".npy or .safetensors"));
    assert!(error(&folder.path().join("z.npy")).contains("z.npy"));
    fs::write(folder.path().join("z.safetensors"), "none").unwrap();
    assert!(error(&folder.path().join("z.safetensors")).contains("z.safetensors"));
}

#[test]
fn neighbours_are_those_of_a_plain_loop() {
    let dimension = 12;
    // More than one block of queries, and of vectors; some of them equal.
    let count = 17_000;
    let mut vectors: Vec<f32> = formula("vectors", count * dimension).collect();
    vectors.copy_within(0..dimension, 16_500 * dimension);
    vectors[3 * dimension..4 * dimension].fill(0.0);
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let row = |index: usize| &vectors[index * dimension..][..dimension];
    let search = NeighbourSearch::new(&vectors, dimension, &Device::flex());
    assert_eq!(search.len(), count);
    let found = search.nearest_others(0..300, 5);
    assert_eq!(found.len(), 300);
    for query in [0, 1, 255, 256, 299] {
        let mut all: Vec<_> = (0..count).filter(|index| *index != query && *index != 3).collect();
        all.sort_by(|a, b| cosine(row(query), row(*b)).total_cmp(&cosine(row(query), row(*a))));
        for (neighbour, expected) in found[query].iter().zip(all) {
            let expected = cosine(row(query), row(expected));
            assert!((f64::from(neighbour.cosine) - expected).abs() < 1e-6);
            assert!((cosine(row(query), row(neighbour.index)) - expected).abs() < 1e-6 && neighbour.index != query);
        }
    }
    assert_eq!(found[0][0].index, 16_500);
    // A query from elsewhere, of any length: its equals come in the order of their positions.
    let query: Vec<f32> = row(0).iter().map(|value| value * 9.0).collect();
    let [first, second] = search.nearest(&query, 2).remove(0)[..] else { panic!("two neighbours") };
    assert_eq!([first.index, second.index], [0, 16_500]);
    assert!(search.nearest(&query, 2 * count)[0].len() == count);
    // A vector without direction is near to nothing.
    assert!(search.nearest_others(3..4, 1)[0][0].cosine == 0.0);
    assert!(search.nearest(&[], 1).is_empty());
}
