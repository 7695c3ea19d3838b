//! Guarantees of the loader: the same batches for any number of workers, from any position, after any history; and no
//! image lost silently.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bn_inception_data::{Augment, ImageBatch, ImageDataset, ImageLoader, LoaderError, LoaderOptions, Preprocess};
use burn::tensor::Device;
use image::{Rgb, RgbImage};

pub const SIZE: u32 = 16;
pub const OPTIONS: LoaderOptions = LoaderOptions { batch_size: 8, workers: 2, seed: 7, strict: false };

/// A dataset of small pictures, each different: `classes` folders of `each` files.
pub fn pictures(classes: usize, each: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for class in 0..classes {
        let folder = dir.path().join(format!("class{class}"));
        fs::create_dir(&folder).unwrap();
        for number in 0..each {
            let seed = (class * each + number) as u32;
            let image = RgbImage::from_fn(24, 20, |x, y| {
                Rgb([(x * 9 + seed * 31) as u8, (y * 11 + seed * 17) as u8, (x * y + seed) as u8])
            });
            let ending = if number % 2 == 0 { "png" } else { "jpg" };
            image.save(folder.join(format!("{number:04}.{ending}"))).unwrap();
        }
    }
    dir
}

fn loader(root: &Path, train: bool, options: LoaderOptions) -> ImageLoader {
    let folder = Arc::new(ImageDataset::open(root).unwrap());
    let preprocess = Preprocess::imagenet(SIZE);
    let device = Device::flex();
    if train {
        let augment = Augment::new(SIZE, 0.08, 0.5);
        ImageLoader::train(folder, preprocess, augment, options, &device).unwrap()
    } else {
        ImageLoader::eval(folder, preprocess, options, &device).unwrap()
    }
}

/// A batch as numbers: the bits of the pixels, the targets.
pub type Bits = (Vec<u32>, Vec<i64>);

pub fn bits(batch: ImageBatch) -> Bits {
    let [count] = batch.targets.dims();
    assert_eq!(batch.images.dims(), [count, 3, SIZE as usize, SIZE as usize]);
    let pixels = batch.images.into_data().try_to_vec::<f32>().unwrap();
    let targets = batch.targets.into_data().iter::<i64>().collect();
    (pixels.into_iter().map(f32::to_bits).collect(), targets)
}

fn epoch(loader: &ImageLoader, epoch: u64, from: usize) -> Vec<Bits> {
    let batches = loader.iter_from(epoch, from);
    batches.map(|batch| bits(batch.unwrap())).collect()
}

#[test]
fn any_number_of_workers_gives_the_same_bits() {
    let dir = pictures(3, 15);
    for train in [true, false] {
        let of = |workers| {
            let options = LoaderOptions { workers, ..OPTIONS };
            epoch(&loader(dir.path(), train, options), 3, 0)
        };
        let alone = of(0);
        assert_eq!(alone.len(), if train { 5 } else { 6 });
        for workers in [1, 2, 4, 11] {
            assert!(of(workers) == alone, "{workers} workers, training: {train}");
        }
    }
}

#[test]
fn an_epoch_goes_on_from_any_batch() {
    let dir = pictures(3, 15);
    let loader = loader(dir.path(), true, OPTIONS);
    let whole = epoch(&loader, 2, 0);
    for from in 0..=whole.len() {
        assert!(epoch(&loader, 2, from) == whole[from..], "from {from}");
    }
    let mut batches = loader.iter_from(2, 6);
    let error = batches.next().unwrap().unwrap_err();
    assert!(matches!(error, LoaderError::StartBeyondEpoch { batch: 6, batches: 5 }));
    assert!(batches.next().is_none());
}

#[test]
fn a_share_of_an_epoch_has_the_batches_of_the_whole() {
    let dir = pictures(3, 15);
    for (train, batches) in [(true, 5), (false, 6)] {
        let loader = loader(dir.path(), train, OPTIONS);
        let whole = epoch(&loader, 1, 0);
        assert_eq!(whole.len(), batches);
        for numbers in [vec![], vec![0, 2, 4], vec![1, 3, 5], vec![2, 3, 9]] {
            let share = loader.iter_of(1, numbers.clone()).map(|batch| bits(batch.unwrap()));
            let expected = numbers.iter().filter_map(|number| whole.get(*number));
            assert!(share.eq(expected.cloned()), "{numbers:?}");
        }
    }
}

#[test]
fn epochs_and_seeds_differ_and_repeat() {
    let dir = pictures(2, 16);
    let first = loader(dir.path(), true, OPTIONS);
    let zero = epoch(&first, 0, 0);
    assert!(epoch(&first, 1, 0) != zero);
    assert!(epoch(&loader(dir.path(), true, OPTIONS), 0, 0) == zero);
    let other_seed = LoaderOptions { seed: 8, ..OPTIONS };
    assert!(epoch(&loader(dir.path(), true, other_seed), 0, 0) != zero);

    assert!(epoch(&first, 0, 0) == zero);
    let evaluation = loader(dir.path(), false, OPTIONS);
    assert!(epoch(&evaluation, 0, 0) == epoch(&evaluation, 1, 0));
}

#[test]
fn training_keeps_equal_batches_and_evaluation_keeps_all() {
    let dir = pictures(3, 7);
    let sizes = |loader: &ImageLoader| -> Vec<usize> {
        let batches = epoch(loader, 0, 0);
        batches.iter().map(|(_, targets)| targets.len()).collect()
    };
    let train = loader(dir.path(), true, OPTIONS);
    assert_eq!((train.batches(), train.images()), (2, 16));
    assert_eq!(sizes(&train), [8, 8]);
    let eval = loader(dir.path(), false, OPTIONS);
    assert_eq!((eval.batches(), eval.images()), (3, 21));
    assert_eq!(sizes(&eval), [8, 8, 5]);
    let targets: Vec<i64> = epoch(&eval, 0, 0).into_iter().flat_map(|b| b.1).collect();
    assert_eq!(targets, [[0; 7], [1; 7], [2; 7]].concat());

    let folder = Arc::new(ImageDataset::open(dir.path()).unwrap());
    for (batch_size, expected) in [(0, "at least 1"), (22, "fewer than one batch of 22")] {
        let options = LoaderOptions { batch_size, ..OPTIONS };
        let preprocess = Preprocess::imagenet(SIZE);
        let result =
            ImageLoader::train(folder.clone(), preprocess, Augment::new(16, 0.08, 0.0), options, &Device::flex());
        let text = result.err().unwrap().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

/// Damages pictures in three ways; returns their number.
pub fn damage(root: &Path) -> usize {
    let jpeg = root.join("class0/0001.jpg");
    let bytes = fs::read(&jpeg).unwrap();
    fs::write(&jpeg, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(root.join("class0/0002.png"), "<html>not found</html>").unwrap();
    fs::write(root.join("class1/0149.jpg"), "").unwrap();
    3
}

#[test]
fn broken_images_are_replaced_and_reported() {
    let dir = pictures(2, 150);
    let intact = epoch(&loader(dir.path(), false, OPTIONS), 0, 0);
    let count = damage(dir.path());
    let run = |workers| {
        let loader = loader(dir.path(), false, LoaderOptions { workers, ..OPTIONS });
        let batches = epoch(&loader, 0, 0);
        (batches, loader.broken().list())
    };
    let (batches, broken) = run(0);
    assert_eq!(broken.len(), count);
    for (image, (path, reason)) in broken.iter().zip([
        ("class0/0001.jpg", "cut short"),
        ("class0/0002.png", "not a JPEG, PNG"),
        ("class1/0149.jpg", "empty"),
    ]) {
        assert_eq!(image.path, dir.path().join(path));
        assert!(image.reason.contains(reason), "{}", image.reason);
    }
    for workers in [1, 4] {
        let (again, list) = run(workers);
        assert!(again == batches && list == broken, "{workers} workers");
    }
    // The next readable image of the class replaces it: 3 for 1 and 2, and the first for the last.
    let of = |epoch: &[Bits], index: usize| {
        let values = 3 * (SIZE * SIZE) as usize;
        epoch[index / 8].0[index % 8 * values..][..values].to_vec()
    };
    for (index, stand_in) in [(1, 3), (2, 3), (299, 150), (4, 4)] {
        assert!(of(&batches, index) == of(&intact, stand_in), "image {index}");
    }
    // Training continues as well, and counts each image once over the epochs.
    let train = loader(dir.path(), true, OPTIONS);
    for number in 0..3 {
        assert_eq!(epoch(&train, number, 0).len(), 37);
    }
    assert!(train.broken().count() <= count);
}

#[test]
fn strict_stops_at_the_first_broken_image() {
    let dir = pictures(2, 150);
    damage(dir.path());
    let options = LoaderOptions { strict: true, ..OPTIONS };
    let loader = loader(dir.path(), false, options);
    let mut batches = loader.iter_from(0, 0);
    let error = batches.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("0001.jpg: the JPEG image is cut short"), "{error}");
    assert!(batches.next().is_none());
}

#[test]
fn more_than_one_percent_broken_stops() {
    let dir = pictures(2, 100);
    // Two of 200 are 1 %; the third is more.
    for (number, expected) in [(0, None), (2, None), (120, Some("3 of 200 images are broken"))] {
        let name = format!("class{}/{:04}.png", number / 100, number % 100);
        fs::write(dir.path().join(&name), "broken").unwrap();
        for workers in [0, 3] {
            let loader = loader(dir.path(), false, LoaderOptions { workers, ..OPTIONS });
            let found: Vec<_> = loader.iter_from(0, 0).collect();
            match expected {
                None => assert!(found.len() == 25 && found.iter().all(Result::is_ok)),
                Some(text) => {
                    // Image 120 opens batch 15.
                    assert_eq!(found.len(), 16);
                    let error = found[15].as_ref().unwrap_err().to_string();
                    assert!(error.contains(text) && error.contains(&name), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_class_without_any_readable_image_stops() {
    let dir = pictures(1, 1);
    fs::write(dir.path().join("class0/0000.png"), "broken").unwrap();
    let loader = loader(dir.path(), false, OPTIONS);
    let error = loader.iter_from(0, 0).next().unwrap().unwrap_err().to_string();
    assert_eq!(error, "no image of class class0 can be decoded");
}

#[test]
fn waiting_is_measured() {
    let dir = pictures(1, 16);
    let loader = loader(dir.path(), true, LoaderOptions { workers: 0, ..OPTIONS });
    assert_eq!(loader.wait_seconds(), 0.0);
    let _ = epoch(&loader, 0, 0);
    assert!(loader.wait_seconds() > 0.0);
}
