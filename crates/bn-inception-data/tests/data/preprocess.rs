//! Decoding and evaluation preprocessing against images made by Pillow and torchvision
//! (`tests/fixtures/preprocess/generate.py`).

use std::io::Cursor;
use std::path::PathBuf;

use bn_inception_data::{
    CropRect, DecodeError, Interpolation, Preprocess, PreprocessError, Resize, crop_resize, decode, decode_file,
};
use burn::tensor::Device;
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess").join(name)
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Mean absolute difference in grey levels.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let sum: u64 = a.iter().zip(b.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}

#[test]
fn evaluation_resize_agrees_with_torchvision() {
    for image in ["wide", "tall"] {
        for (mode, interpolation) in [("bilinear", Interpolation::Bilinear), ("bicubic", Interpolation::Bicubic)] {
            for (short, size) in [(36, 32), (70, 64)] {
                let preprocess =
                    Preprocess { size, resize: Resize::ShortSide(short), interpolation, ..Preprocess::imagenet(size) };
                let source = decode_file(fixture(&format!("{image}.png"))).unwrap();
                let name = format!("{image}-{mode}-{short}-{size}.png");
                let expected = decode_file(fixture(&name)).unwrap();
                let found = preprocess.eval_image(&source).unwrap();
                let difference = difference(&found, &expected);
                eprintln!("{name}: mean difference {difference:.4}");
                // The two filter passes are rounded in the other order here: single levels, no more.
                assert!(difference <= 0.5, "{name}: {difference} grey levels");
            }
        }
    }
}

#[test]
fn central_fraction_agrees_with_pillow() {
    let preprocess = Preprocess { size: 32, ..Preprocess::tf_slim() };
    let source = decode_file(fixture("wide.png")).unwrap();
    let expected = decode_file(fixture("wide-central-32.png")).unwrap();
    let difference = difference(&preprocess.eval_image(&source).unwrap(), &expected);
    // Pillow cuts first here, so its filter does not see the pixels beyond the cut.
    assert!(difference <= 0.5, "{difference} grey levels");
}

#[test]
fn image_of_the_input_size_is_not_resized() {
    let image = RgbImage::from_fn(224, 224, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    for preprocess in [Preprocess::cadene(), Preprocess::tf_slim()] {
        assert_eq!(preprocess.eval_image(&image).unwrap(), image);
    }
}

#[test]
fn extreme_shapes_stay_small() {
    let preprocess = Preprocess::imagenet(128);
    for (width, height) in [(1, 1), (1, 20_000), (20_000, 1), (3, 5)] {
        let image = RgbImage::from_pixel(width, height, Rgb([9, 99, 199]));
        let square = preprocess.eval_image(&image).unwrap();
        assert_eq!(square.dimensions(), (128, 128));
        assert!(square.pixels().all(|p| *p == Rgb([9, 99, 199])));
    }
    assert!(matches!(preprocess.eval_image(&RgbImage::new(0, 4)), Err(PreprocessError::NoPixels { .. })));
}

/// A crop whose first pixel falls exactly on a source pixel once made the resizer read outside the image. In a picture
/// of one colour every pixel from elsewhere shows.
#[test]
fn no_crop_reads_outside_the_image() {
    let image = RgbImage::from_pixel(41, 37, Rgb([200, 90, 17]));
    let steps = [0.0, 0.5, 1.0, 2.25, 11.5, 20.0];
    for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
        for (left, top) in steps.iter().flat_map(|l| steps.map(|t| (*l, t))) {
            for (width, height) in [(1.0, 1.0), (17.0, 17.0), (4.5, 13.0), (21.0, 2.0), (99.0, 99.0)] {
                for size in [1, 2, 8, 17, 34, 63, 64] {
                    let crop = CropRect { left, top, width, height };
                    let square = crop_resize(&image, crop, size, interpolation).unwrap();
                    let same = square.pixels().all(|p| {
                        let pairs = p.0.iter().zip([200_u8, 90, 17]);
                        pairs.into_iter().all(|(a, b)| a.abs_diff(b) <= 1)
                    });
                    assert!(same, "{crop:?} to {size}, {interpolation:?}");
                }
            }
        }
    }
}

#[test]
fn crops_that_are_no_part_of_the_image_are_refused() {
    let image = RgbImage::new(9, 7);
    for [left, top, width, height] in [
        [-1.0, 0.0, 2.0, 2.0],
        [9.0, 0.0, 1.0, 1.0],
        [f64::NAN, 0.0, 1.0, 1.0],
        [0.0, 0.0, f64::NAN, 1.0],
        [0.0, 0.0, 0.0, 3.0],
        [0.0, 0.0, 3.0, -3.0],
    ] {
        let crop = CropRect { left, top, width, height };
        let result = crop_resize(&image, crop, 4, Interpolation::Bilinear);
        assert!(matches!(result, Err(PreprocessError::Resize(_))), "{crop:?}");
    }
}

#[test]
fn normalisation_follows_order_range_mean_and_deviation() {
    let image = RgbImage::from_pixel(2, 1, Rgb([255, 128, 0]));
    for (preprocess, expected) in [
        (Preprocess::cadene(), [-104.0, 11.0, 127.0]),
        (Preprocess::onnx(), [-104.0, 11.0, 132.0]),
        (Preprocess::mxnet(), [131.32, 11.221, -103.939]),
        (Preprocess::tf_slim(), [1.0, 0.003_921_569, -1.0]),
        (Preprocess::imagenet(64), [2.248_908, 0.205_182, -1.804_444]),
    ] {
        let mut out = [0.0; 6];
        preprocess.normalize_into(&image, &mut out).unwrap();
        for (channel, expected) in expected.into_iter().enumerate() {
            for value in &out[2 * channel..][..2] {
                assert!((value - expected).abs() < 2e-5, "{preprocess:?}: {out:?}");
            }
        }
    }
    let short = Preprocess::cadene().normalize_into(&image, &mut [0.0; 5]);
    assert_eq!(short, Err(PreprocessError::Buffer { found: 5, expected: 6 }));
}

#[test]
fn a_batch_holds_the_evaluation_crops_in_order() {
    let preprocess = Preprocess::imagenet(32);
    let images = ["wide.png", "tall.png"].map(|name| decode_file(fixture(name)).unwrap());
    let batch = preprocess.batch(&images, &Device::flex()).unwrap();
    assert_eq!(batch.dims(), [2, 3, 32, 32]);
    let mut expected = vec![0.0; 2 * 3 * 32 * 32];
    for (image, out) in images.iter().zip(expected.chunks_exact_mut(3 * 32 * 32)) {
        let crop = preprocess.eval_image(image).unwrap();
        preprocess.normalize_into(&crop, out).unwrap();
    }
    assert_eq!(batch.try_into_vec_as::<f32>().unwrap(), expected);
    let empty = preprocess.batch([&RgbImage::new(0, 5)], &Device::flex());
    assert_eq!(empty.unwrap_err(), PreprocessError::NoPixels { width: 0, height: 5 });
}

#[test]
fn check_names_the_field() {
    let good = Preprocess::imagenet(128);
    assert_eq!(good.check(), Ok(()));
    for (bad, name) in [
        (Preprocess { size: 0, ..good.clone() }, "size"),
        (Preprocess { resize: Resize::ShortSide(100), ..good.clone() }, "resize"),
        (Preprocess { resize: Resize::CentralFraction(f64::NAN), ..good.clone() }, "resize"),
        (Preprocess { mean: [f32::NAN; 3], ..good.clone() }, "mean"),
        (Preprocess { std: [0.0; 3], ..good.clone() }, "std"),
    ] {
        let error = bad.check().unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn preprocess_survives_json() {
    for preprocess in [Preprocess::mxnet(), Preprocess::tf_slim()] {
        let json = serde_json::to_string(&preprocess).unwrap();
        assert_eq!(serde_json::from_str::<Preprocess>(&json).unwrap(), preprocess);
    }
}

/// The four flat colours of the generator's picture.
const RED: [u8; 3] = [200, 30, 40];
const GREEN: [u8; 3] = [20, 180, 60];
const BLUE: [u8; 3] = [30, 50, 190];
const YELLOW: [u8; 3] = [230, 220, 40];

fn assert_near(image: &RgbImage, x: u32, y: u32, expected: [u8; 3]) {
    let found = image.get_pixel(x, y).0;
    let near = found.iter().zip(expected).all(|(f, e)| f.abs_diff(e) <= 6);
    assert!(near, "({x}, {y}): {found:?}, expected {expected:?}");
}

#[test]
fn cmyk_and_progressive_jpeg_come_out_as_rgb() {
    for name in ["cmyk.jpg", "progressive.jpg"] {
        let image = decode_file(fixture(name)).unwrap();
        assert_eq!(image.dimensions(), (48, 32), "{name}");
        assert_near(&image, 8, 8, RED);
        assert_near(&image, 40, 8, GREEN);
        assert_near(&image, 8, 24, BLUE);
        assert_near(&image, 40, 24, YELLOW);
    }
}

#[test]
fn exif_orientation_is_applied() {
    let image = decode_file(fixture("exif-6.jpg")).unwrap();
    assert_eq!(image.dimensions(), (32, 48));
    assert_near(&image, 8, 8, BLUE);
    assert_near(&image, 24, 8, RED);
    assert_near(&image, 8, 40, YELLOW);
    assert_near(&image, 24, 40, GREEN);
}

#[test]
fn every_pixel_type_comes_out_as_8_bit_rgb() {
    let size = (5, 4);
    let (gray, rgb) = ([77, 77, 77], [10, 120, 250]);
    let png = ImageFormat::Png;
    let wide = |v: u8| u16::from(v) * 257;
    let files = [
        (encode(ImageBuffer::from_pixel(size.0, size.1, Luma([77_u8])), png), gray),
        (encode(ImageBuffer::from_pixel(size.0, size.1, Luma([wide(77)])), png), gray),
        (encode(ImageBuffer::from_pixel(size.0, size.1, LumaA([77_u8, 0])), png), gray),
        (encode(ImageBuffer::from_pixel(size.0, size.1, Rgb([10, 120, 250].map(wide))), png), rgb),
        // Transparency is dropped, not composited.
        (encode(ImageBuffer::from_pixel(size.0, size.1, Rgba([10_u8, 120, 250, 3])), png), rgb),
        (encode(ImageBuffer::from_pixel(size.0, size.1, Luma([77_u8])), ImageFormat::Jpeg), gray),
    ];
    for (bytes, expected) in files {
        let image = decode(&bytes).unwrap();
        assert_eq!(image.dimensions(), size);
        assert!(image.pixels().all(|p| p.0 == expected), "{image:?}");
    }
}

#[test]
fn content_decides_the_format_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n02105855_2933.JPEG");
    let image = RgbImage::from_pixel(3, 3, Rgb([1, 2, 3]));
    for format in LOSSLESS {
        std::fs::write(&path, encode(image.clone(), format)).unwrap();
        assert_eq!(decode_file(&path).unwrap(), image, "{format:?}");
    }
}

/// The formats that keep a picture of few colours as it is.
const LOSSLESS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff];

#[test]
fn what_is_no_whole_image_is_refused() {
    let noise =
        RgbImage::from_fn(64, 64, |x, y| Rgb([((x * 37) ^ (y * 91)) as u8, (x * y) as u8, (x * 13 + y * 7) as u8]));
    let jpeg = encode(noise.clone(), ImageFormat::Jpeg);
    let others = LOSSLESS.map(|format| encode(noise.clone(), format));
    assert!(matches!(decode(&[]), Err(DecodeError::Empty)));
    assert!(matches!(decode(b"<html>404</html>"), Err(DecodeError::UnknownFormat { .. })));
    assert!(matches!(decode_file(fixture("absent.jpg")), Err(DecodeError::Io(_))));
    // A folder opens on Unix, and fails when read.
    assert!(matches!(decode_file(fixture("")), Err(DecodeError::Io(_))));
    for file in others.iter().chain([&jpeg]) {
        for part in [1, 4, 10, 50, 90, 99] {
            let cut = &file[..file.len() * part / 100];
            assert!(decode(cut).is_err(), "{part} % of {} bytes: {:02x?}", file.len(), &file[..4]);
        }
    }
    // A text may begin as a BMP does.
    assert!(matches!(decode(b"BMW's catalogue of cars"), Err(DecodeError::UnknownFormat { .. })));
    let mut trailing = jpeg.clone();
    trailing.extend_from_slice(b"camera maker's notes");
    assert_eq!(decode(&trailing).unwrap(), decode(&jpeg).unwrap());
}

#[test]
fn sizes_over_the_limit_are_refused_before_any_memory_is_taken() {
    let mut png = encode(RgbImage::new(2, 2), ImageFormat::Png);
    // Width and height of the header chunk, then its checksum.
    png[16..20].copy_from_slice(&30_000_u32.to_be_bytes());
    png[20..24].copy_from_slice(&30_000_u32.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = decode(&png).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn damaged_bytes_never_panic() {
    let picture = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    let files = [
        encode(picture.clone(), ImageFormat::Jpeg),
        encode(picture.clone(), ImageFormat::Png),
        encode(picture.clone(), ImageFormat::WebP),
        encode(picture.clone(), ImageFormat::Gif),
        encode(picture.clone(), ImageFormat::Bmp),
        encode(picture, ImageFormat::Tiff),
        std::fs::read(fixture("progressive.jpg")).unwrap(),
        std::fs::read(fixture("cmyk.jpg")).unwrap(),
        std::fs::read(fixture("exif-6.jpg")).unwrap(),
    ];
    // A fixed linear congruential sequence: the positions and kinds of damage.
    let mut state = 1_u64;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % bound
    };
    for file in &files {
        for _ in 0..400 {
            let mut bytes = file.clone();
            for _ in 0..=next(6) {
                let at = next(bytes.len());
                bytes[at] = next(256) as u8;
            }
            let _ = decode(&bytes);
        }
    }
}

#[test]
fn a_whole_image_keeps_its_edges() {
    let image = RgbImage::from_fn(60, 40, |x, _| Rgb([if x < 30 { 0 } else { 200 }; 3]));
    let preprocess = Preprocess { size: 28, resize: Resize::ShortSide(32), ..Preprocess::imagenet(28) };
    let whole = preprocess.whole_image(&image).unwrap();
    assert_eq!(whole.dimensions(), (48, 32));
    assert_eq!((whole.get_pixel(0, 0), whole.get_pixel(47, 31)), (&Rgb([0; 3]), &Rgb([200; 3])));
    // The centre is what the evaluation crop shows: half of its even offset is rounded as torchvision rounds.
    let crop = preprocess.eval_image(&image).unwrap();
    let centre = image::imageops::crop_imm(&whole, 10, 2, 28, 28).to_image();
    assert!(difference(&crop, &centre) < 0.5);
    let fraction = Preprocess { size: 28, resize: Resize::CentralFraction(0.875), ..Preprocess::imagenet(28) };
    assert_eq!(fraction.whole_image(&image).unwrap().dimensions(), (48, 32));
    let line = preprocess.whole_image(&RgbImage::new(3, 1000)).unwrap_err().to_string();
    assert!(line.contains("3x1000 pixels would become 32x10666, at most 4096"), "{line}");
    assert!(matches!(preprocess.whole_image(&RgbImage::new(0, 5)), Err(PreprocessError::NoPixels { .. })));
}
