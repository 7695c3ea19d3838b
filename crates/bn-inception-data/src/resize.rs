//! Cutting and scaling of images.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{Filter, FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::error::PreprocessError;

/// Filter of scaling. Its support grows with the reduction (antialiasing), as in Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Triangle filter.
    Bilinear,
    /// Catmull-Rom cubic (a = −0.5).
    Bicubic,
}

/// Extents of an image scaled to a given short side, the aspect ratio kept. The rounding is torchvision's.
pub(crate) struct Scaled {
    /// Width and height of the scaled image.
    pub(crate) size: [f64; 2],
    /// Width and height of one of its pixels, in pixels of the original.
    pixel: [f64; 2],
}

impl Scaled {
    pub(crate) fn new(width: u32, height: u32, short_side: u32) -> Self {
        let short = u64::from(width.min(height)).max(1);
        let scaled = |length: u32| (u64::from(short_side) * u64::from(length) / short) as f64;
        let size = [scaled(width), scaled(height)];
        Self { size, pixel: [f64::from(width) / size[0], f64::from(height) / size[1]] }
    }

    /// A square of the scaled image, in pixels of the original.
    pub(crate) fn area(&self, left: f64, top: f64, side: f64) -> CropRect {
        let [width, height] = self.pixel;
        CropRect { left: left * width, top: top * height, width: side * width, height: side * height }
    }
}

/// Offset that centres `part` in `whole`; halves are rounded to even, as in torchvision.
pub(crate) fn centred(whole: f64, part: f64) -> f64 {
    ((whole - part) / 2.0).round_ties_even()
}

/// Rectangle of an image, in pixels of that image. Its edges may lie between pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CropRect {
    /// Distance from the left edge.
    pub left: f64,
    /// Distance from the top edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// Cuts `crop` out of `image` and scales it to `size` × `size`, in one antialiased pass.
///
/// # Errors
/// [`PreprocessError`] if the image has no pixels or the rectangle does not start inside it.
pub fn crop_resize(
    image: &RgbImage,
    crop: CropRect,
    size: u32,
    interpolation: Interpolation,
) -> Result<RgbImage, PreprocessError> {
    crop_resize_to(image, crop, [size; 2], interpolation)
}

/// [`crop_resize`] to `size` pixels, width and height.
///
/// # Errors
/// As of [`crop_resize`].
pub fn crop_resize_to(
    image: &RgbImage,
    crop: CropRect,
    size: [u32; 2],
    interpolation: Interpolation,
) -> Result<RgbImage, PreprocessError> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(PreprocessError::NoPixels { width, height });
    }
    let refused = |reason: String| PreprocessError::Resize(reason);
    let source =
        TypedImageRef::<U8x3>::from_buffer(width, height, image.as_raw()).map_err(|e| refused(e.to_string()))?;
    let [across, down] = size;
    let mut target = RgbImage::new(across, down);
    let filter = match interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Bicubic => {
            FilterType::Custom(Filter::new("cubic", cubic, 2.0).map_err(|e| refused(e.to_string()))?)
        }
    };
    let CropRect { left, top, .. } = crop;
    let starts_inside = (0.0..f64::from(width)).contains(&left) && (0.0..f64::from(height)).contains(&top);
    if !starts_inside || crop.width.is_nan() || crop.width <= 0.0 || crop.height.is_nan() || crop.height <= 0.0 {
        return Err(refused(format!("{crop:?} is not inside {width}x{height}")));
    }
    // Sums like `left + width` may pass the edge by a rounding error, which the resizer refuses.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(
        left,
        top,
        crop.width.min(f64::from(width) - left),
        crop.height.min(f64::from(height) - top),
    );
    let mut pixels = TypedImage::<U8x3>::from_buffer(across, down, &mut target).map_err(|e| refused(e.to_string()))?;
    // `Resizer::resize` would compile the loops of all thirteen kinds of pixels.
    Resizer::new().resize_typed(&source, &mut pixels, &options).map_err(|e| refused(e.to_string()))?;
    Ok(target)
}

/// Catmull-Rom's cubic (a = −0.5), never exactly 0 within its support of 2.
///
/// fast_image_resize 6.1 drops zero weights from a pixel's window. If the first pixel of an enlarged crop falls on a
/// source pixel, its own `CatmullRom` is 0 one pixel away, that window starts to the right of the next one, and the
/// resizer reads outside the image. Without zeros inside the support (the bilinear filter has none) the windows' starts
/// and ends only grow.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    let value = if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        return 0.0;
    };
    if value == 0.0 { f64::MIN_POSITIVE } else { value }
}
