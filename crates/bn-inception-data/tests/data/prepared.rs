//! Images of a folder prepared one by one: all of them, in order, for any number of workers.

use std::fs;
use std::path::Path;

use bn_inception_data::{
    Crops, ImageDataset, LoaderError, LoaderOptions, PreparedImage, PreparedImages, Preprocess, decode_file,
};
use image::RgbImage;

use crate::loader::{OPTIONS, damage, pictures};

/// The ten crops of an image with their numbers of occurrences.
type TenCrops = Vec<(RgbImage, u32)>;

fn ten_crops(root: &Path, options: LoaderOptions) -> PreparedImages<TenCrops> {
    let folder = ImageDataset::open(root).unwrap();
    let preprocess = Preprocess::imagenet(16);
    let prepare = move |image: &RgbImage| Crops::Ten.render(image, &preprocess);
    PreparedImages::new(folder, options, prepare).unwrap()
}

#[test]
fn every_image_comes_once_in_order_for_any_number_of_workers() {
    let dir = pictures(3, 7);
    let folder = ImageDataset::open(dir.path()).unwrap();
    let preprocess = Preprocess::imagenet(16);
    let expected: Vec<_> = (0..folder.len())
        .map(|index| PreparedImage {
            value: Crops::Ten.render(&decode_file(folder.path(index)).unwrap(), &preprocess).unwrap(),
            class: folder.class(index),
        })
        .collect();
    for workers in [0, 1, 4] {
        let images = ten_crops(dir.path(), LoaderOptions { workers, ..OPTIONS });
        let batches: Vec<_> = images.map(|batch| batch.unwrap()).collect();
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [8, 8, 5]);
        assert!(batches.concat() == expected, "{workers} workers");
    }
}

#[test]
fn broken_images_are_replaced_and_counted() {
    let dir = pictures(2, 150);
    let intact: Vec<_> = ten_crops(dir.path(), OPTIONS).flat_map(|batch| batch.unwrap()).collect();
    let count = damage(dir.path());
    let mut images = ten_crops(dir.path(), OPTIONS);
    let found: Vec<_> = images.by_ref().flat_map(|batch| batch.unwrap()).collect();
    assert_eq!(images.broken().count(), count);
    for (index, stand_in) in [(1, 3), (2, 3), (299, 150), (4, 4)] {
        assert!(found[index] == intact[stand_in], "image {index}");
    }

    let strict = LoaderOptions { strict: true, ..OPTIONS };
    let mut images = ten_crops(dir.path(), strict);
    let error = images.next().unwrap().unwrap_err();
    assert!(matches!(error, LoaderError::Broken { .. }), "{error}");
    assert!(images.next().is_none());

    fs::write(dir.path().join("class0/0000.png"), "broken").unwrap();
    for workers in [0, 3] {
        let mut images = ten_crops(dir.path(), LoaderOptions { workers, ..OPTIONS });
        let last = images.by_ref().last().unwrap();
        let error = last.unwrap_err().to_string();
        assert!(error.starts_with("4 of 300 images are broken"), "{error}");
        assert!(images.next().is_none());
    }
}

#[test]
fn a_panicking_preparation_is_an_error() {
    let dir = pictures(1, 9);
    for workers in [0, 2] {
        let folder = ImageDataset::open(dir.path()).unwrap();
        let options = LoaderOptions { workers, ..OPTIONS };
        let prepare = |_: &RgbImage| -> Result<(), _> { panic!("a bug of the caller") };
        let mut images = PreparedImages::new(folder, options, prepare).unwrap();
        let error = images.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("a bug of the caller"), "{error}");
        assert!(images.next().is_none());
    }
    let empty = LoaderOptions { batch_size: 0, ..OPTIONS };
    let folder = ImageDataset::open(dir.path()).unwrap();
    let refused = PreparedImages::new(folder, empty, |_| Ok(())).err();
    assert!(matches!(refused, Some(LoaderError::NoBatchSize)));
}
