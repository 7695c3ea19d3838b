//! Images reduced to fit into a line of the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bn_inception_dashboard::run_log::Picture;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder as _, ImageResult, RgbImage};

/// Height and width of a thumbnail in pixels, at most.
pub(crate) const THUMBNAIL: u32 = 112;

/// Quality of the JPEGs, of 100.
const QUALITY: u8 = 80;

/// `image`, square, no larger than [`THUMBNAIL`].
pub(crate) fn shrink(image: &RgbImage) -> RgbImage {
    let side = THUMBNAIL.min(image.width()).max(1);
    if image.width() == side {
        return image.clone();
    }
    imageops::resize(image, side, side, FilterType::Triangle)
}

/// A photograph as JPEG; `None` if it has no pixels.
pub(crate) fn jpeg(image: &RgbImage) -> Option<Picture> {
    let encode = |bytes: &mut Vec<u8>| {
        let (width, height) = image.dimensions();
        let encoder = JpegEncoder::new_with_quality(bytes, QUALITY);
        encoder.write_image(image, width, height, ExtendedColorType::Rgb8)
    };
    picture(image, "image/jpeg", encode)
}

/// A drawing as PNG; `None` if it has no pixels.
pub(crate) fn png(image: &RgbImage) -> Option<Picture> {
    let encode = |bytes: &mut Vec<u8>| {
        let (width, height) = image.dimensions();
        PngEncoder::new(bytes).write_image(image, width, height, ExtendedColorType::Rgb8)
    };
    picture(image, "image/png", encode)
}

fn picture(image: &RgbImage, mime: &str, encode: impl FnOnce(&mut Vec<u8>) -> ImageResult<()>) -> Option<Picture> {
    let mut bytes = Vec::new();
    encode(&mut bytes).ok()?;
    Some(Picture { width: image.width(), height: image.height(), mime: mime.to_owned(), data: STANDARD.encode(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_decode_to_what_they_were() {
        let image = RgbImage::from_fn(4, 2, |x, y| image::Rgb([x as u8 * 60, y as u8 * 200, 9]));
        let found = png(&image).unwrap();
        assert_eq!((found.width, found.height), (4, 2));
        let bytes = STANDARD.decode(found.data).unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), image);
        let found = jpeg(&image).unwrap();
        let bytes = STANDARD.decode(found.data).unwrap();
        let decoded = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(decoded.dimensions(), (4, 2));
    }

    #[test]
    fn only_large_images_shrink() {
        let of = |side| shrink(&RgbImage::new(side, side)).width();
        assert_eq!([of(28), of(THUMBNAIL), of(224)], [28, THUMBNAIL, THUMBNAIL]);
    }
}
