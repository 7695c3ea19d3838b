//! Inputs of networks of any number of channels: images, stacks of images, arrays.

use std::fs;

use bn_inception_data::{Content, FileList, Input, InputError, Preprocess, Resize, View, write_npy};
use image::{Rgb, RgbImage};

fn preprocess() -> Preprocess {
    Preprocess { size: 4, resize: Resize::ShortSide(4), ..Preprocess::flow() }
}

#[test]
fn grey_images_are_stacked_as_channels() {
    let grey = |value: u8| RgbImage::from_pixel(6, 4, Rgb([value; 3]));
    let part = |value| Input::grey(&grey(value), &preprocess(), View::Crop).unwrap();
    let stacked = Input::stack(vec![part(0), part(128), part(255)]).unwrap();
    assert_eq!(stacked.shape, [3, 4, 4]);
    let values: Vec<f32> = stacked.values.chunks(16).map(|channel| channel[5]).collect();
    assert_eq!(values, [-128.0, 0.0, 127.0]);
    // Where the channels' means differ it is their average.
    let cadene = Preprocess { mean: [100.0, 120.0, 140.0], ..preprocess() };
    assert_eq!(
        Input::grey(&grey(120), &cadene, View::Whole).unwrap(),
        Input { shape: [1, 4, 6], values: vec![0.0; 24] }
    );
    let error = Input::stack(vec![part(0), Input { shape: [1, 4, 6], values: vec![0.0; 24] }]).unwrap_err();
    assert!(matches!(error, InputError::Sizes { expected: [4, 4], found: [4, 6] }), "{error}");
    assert!(matches!(Input::stack(Vec::new()), Err(InputError::Shape { .. })));
}

#[test]
fn colour_images_are_normalised() {
    let image = RgbImage::from_fn(4, 4, |x, _| Rgb([x as u8, 10, 20]));
    let input = Input::color(&image, &preprocess(), View::Crop).unwrap();
    assert_eq!((input.shape, input.values[0], input.values[47]), ([3, 4, 4], 20.0 - 128.0, 3.0 - 128.0));
}

#[test]
fn arrays_hold_one_example_or_several() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let values: Vec<f32> = (0..120).map(|value| value as f32).collect();
    let read = |shape: &[usize]| {
        let mut bytes = Vec::new();
        write_npy(&mut bytes, shape, &values[..shape.iter().product()]).unwrap();
        fs::write(&path, bytes).unwrap();
        Input::read(&path)
    };
    assert_eq!(read(&[5, 4, 6]).unwrap(), [Input { shape: [5, 4, 6], values: values.clone() }]);
    let several = read(&[2, 5, 4, 3]).unwrap();
    assert_eq!(several[1], Input { shape: [5, 4, 3], values: values[60..].to_vec() });
    assert_eq!(read(&[0, 5, 4, 3]).unwrap(), []);
    for shape in [&[120][..], &[10, 12], &[1, 2, 3, 4, 5], &[0, 4, 6]] {
        let error = read(shape).unwrap_err().to_string();
        assert!(error.contains("expected [C, H, W] or [N, C, H, W]"), "{error}");
    }
    assert!(matches!(Input::read(folder.path().join("absent.npy")), Err(InputError::Array(_))));
}

#[test]
fn files_are_told_apart_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("deep")).unwrap();
    RgbImage::new(1, 1).save_with_format(at("deep/photo"), image::ImageFormat::WebP).unwrap();
    let mut array = Vec::new();
    write_npy(&mut array, &[1], &[0.0]).unwrap();
    fs::write(at("array.jpeg.txt"), array).unwrap();
    fs::write(at("b.jpg"), "named as an image").unwrap();
    fs::write(at("notes"), "").unwrap();
    fs::write(at(".hidden.jpg"), "").unwrap();
    let list = FileList::below(folder.path()).unwrap();
    assert_eq!(list.images, [at("b.jpg"), at("deep/photo")]);
    assert_eq!(list.arrays, [at("array.jpeg.txt")]);
    assert_eq!(list.others, [at("notes")]);
    assert_eq!(Content::of_file(&at("b.jpg")).unwrap(), Content::Image);
    assert_eq!(Content::of_file(&at("deep")).unwrap(), Content::Other);
    assert!(FileList::below(&at("absent")).unwrap_err().to_string().contains("absent"));
}
