//! From a decoded image to the numbers a network was trained on.
//!
//! Colour order, pixel range, mean, deviation, size and crop *belong to the weights*: the same
//! photograph prepared another way loses accuracy without any error. They are therefore one value,
//! [`Preprocess`], which is stored beside the weights and read back with them.

use std::str::FromStr;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{Filter, FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Largest input or short side that [`Preprocess::check`] accepts, in pixels.
pub const MAX_SIZE: u32 = 4096;

/// What is done to an image before it enters the network.
///
/// Each channel becomes `(range(byte) − mean) / std`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Order of the three channels.
    pub color: ColorOrder,
    /// Interval of the pixel values before mean and deviation.
    pub range: PixelRange,
    /// Subtracted from each channel: in `color` order and in units of `range`.
    pub mean: [f32; 3],
    /// Divides each channel after the mean: in `color` order and in units of `range`.
    pub std: [f32; 3],
    /// Side of the square input, in pixels.
    pub size: u32,
    /// How an image of any size becomes `size` × `size`.
    pub resize: Resize,
    /// Filter for that.
    pub interpolation: Interpolation,
}

/// Order of the colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: Caffe's order, from OpenCV.
    Bgr,
}

/// Interval to which the byte values 0–255 are mapped, before mean and standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelRange {
    /// 0 to 255, unchanged.
    Byte,
    /// 0 to 1.
    Unit,
    /// −1 to 1.
    Signed,
}

/// Resizing of the whole image to the network's square, for evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Scales the short side to this many pixels, keeping the aspect ratio, and cuts out the centre square.
    ShortSide(u32),
    /// Cuts this fraction of each side from the centre and scales it to the square, losing the aspect ratio.
    CentralFraction(f64),
}

/// Filter used for scaling; each widens with the reduction (antialiasing), as Pillow's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Triangle filter.
    Bilinear,
    /// Catmull-Rom cubic (a = −0.5).
    Bicubic,
}

/// A [`Preprocess`] that cannot work, or a buffer that does not fit it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// A field is outside what it may hold.
    #[error("preprocessing: {field} is {found}, expected {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// The image has no pixels.
    #[error("preprocessing: the image has no pixels ({width}x{height})")]
    NoPixels {
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// The output buffer has the wrong length.
    #[error("preprocessing: the buffer holds {found} values, the image needs {expected}")]
    Buffer {
        /// Length of the buffer.
        found: usize,
        /// 3 × height × width.
        expected: usize,
    },
    /// The resizer refused the sizes.
    #[error("preprocessing: cannot resize: {0}")]
    Resize(String),
}

type Named = (&'static str, fn() -> Preprocess);

/// Preprocessings by name; see the functions of the same names.
const NAMED: [Named; 6] = [
    ("cadene", Preprocess::cadene),
    ("caffe", Preprocess::onnx),
    ("onnx", Preprocess::onnx),
    ("mxnet", Preprocess::mxnet),
    ("tf_slim", Preprocess::tf_slim),
    ("imagenet", || Preprocess::imagenet(224)),
];

/// No preprocessing has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown preprocessing `{0}`, expected one of: cadene, caffe, onnx, mxnet, tf_slim, imagenet"
)]
pub struct UnknownPreprocess(
    /// The name given.
    pub String,
);

impl FromStr for Preprocess {
    type Err = UnknownPreprocess;

    fn from_str(name: &str) -> Result<Self, UnknownPreprocess> {
        let found = NAMED.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, make)| make())
            .ok_or_else(|| UnknownPreprocess(name.to_owned()))
    }
}

impl Preprocess {
    /// Cadene's `pretrained-models.pytorch` (`bninception`): BGR, 0–255, mean 104/117/128, 224 of 256.
    pub fn cadene() -> Self {
        Self::bytes(ColorOrder::Bgr, [104.0, 117.0, 128.0])
    }

    /// The ONNX model zoo's `inception_v2` and most of Caffe: BGR, 0–255, mean 104/117/123, 224 of 256.
    pub fn onnx() -> Self {
        Self::bytes(ColorOrder::Bgr, [104.0, 117.0, 123.0])
    }

    /// MXNet's `Inception-BN-0126`: RGB, 0–255, mean 123.68/116.779/103.939, 224 of 256.
    pub fn mxnet() -> Self {
        Self::bytes(ColorOrder::Rgb, [123.68, 116.779, 103.939])
    }

    /// TF-Slim's `inception_v2`: RGB, −1 to 1, the central 87.5 % of each side scaled to 224.
    pub fn tf_slim() -> Self {
        Self {
            color: ColorOrder::Rgb,
            range: PixelRange::Signed,
            mean: [0.0; 3],
            std: [1.0; 3],
            size: 224,
            resize: Resize::CentralFraction(0.875),
            interpolation: Interpolation::Bilinear,
        }
    }

    /// Weights trained by this project: RGB, 0–1, ImageNet's channel means and deviations, and a
    /// short side of 8/7 of `size` (256 for 224).
    pub fn imagenet(size: u32) -> Self {
        Self {
            color: ColorOrder::Rgb,
            range: PixelRange::Unit,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            size,
            resize: Resize::ShortSide(
                ((f64::from(size) * 8.0 / 7.0).round() as u32).min(MAX_SIZE.max(size)),
            ),
            interpolation: Interpolation::Bilinear,
        }
    }

    fn bytes(color: ColorOrder, mean: [f32; 3]) -> Self {
        Self {
            color,
            range: PixelRange::Byte,
            mean,
            std: [1.0; 3],
            size: 224,
            resize: Resize::ShortSide(256),
            interpolation: Interpolation::Bilinear,
        }
    }

    /// Checks values that came from a file or a user.
    ///
    /// # Errors
    /// [`PreprocessError::Field`] naming the first field that is out of its range.
    pub fn check(&self) -> Result<(), PreprocessError> {
        let (resize_fits, resize_expected) = match self.resize {
            Resize::ShortSide(side) => (
                (self.size..=MAX_SIZE).contains(&side),
                format!("{} to {MAX_SIZE}", self.size),
            ),
            Resize::CentralFraction(part) => (
                part > 0.0 && part <= 1.0,
                "more than 0, at most 1".to_owned(),
            ),
        };
        let rules = [
            (
                "size",
                (1..=MAX_SIZE).contains(&self.size),
                self.size.to_string(),
                format!("1 to {MAX_SIZE}"),
            ),
            (
                "resize",
                resize_fits,
                format!("{:?}", self.resize),
                resize_expected,
            ),
            (
                "mean",
                self.mean.iter().all(|v| v.is_finite()),
                format!("{:?}", self.mean),
                "finite numbers".to_owned(),
            ),
            (
                "std",
                self.std.iter().all(|v| v.is_finite() && *v > 0.0),
                format!("{:?}", self.std),
                "positive numbers".to_owned(),
            ),
        ];
        for (field, holds, found, expected) in rules {
            if !holds {
                return Err(PreprocessError::Field {
                    field,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Brings an image of any size to `size` × `size`, as for evaluation: resized, centre cut out.
    ///
    /// An image that already is `size` × `size` comes back unchanged: it was cropped before.
    ///
    /// # Errors
    /// [`PreprocessError`] when the image has no pixels or [`Preprocess::check`] fails.
    pub fn eval_image(&self, image: &RgbImage) -> Result<RgbImage, PreprocessError> {
        self.check()?;
        if image.dimensions() == (self.size, self.size) {
            return Ok(image.clone());
        }
        crop_resize(
            image,
            self.eval_crop(image.width(), image.height()),
            self.size,
            self.interpolation,
        )
    }

    /// The part of a `width` × `height` image that [`Preprocess::eval_image`] scales to the square.
    ///
    /// Cutting before scaling gives the pixels of scaling before cutting, without computing (and
    /// holding in memory) those that are cut away.
    pub(crate) fn eval_crop(&self, width: u32, height: u32) -> CropRect {
        let size = f64::from(self.size);
        if (width, height) == (self.size, self.size) {
            return CropRect {
                left: 0.0,
                top: 0.0,
                width: size,
                height: size,
            };
        }
        match self.resize {
            Resize::ShortSide(side) => {
                let scaled = Scaled::new(width, height, side);
                let start = |length: f64| ((length - size) / 2.0).round_ties_even();
                let [left, top] = scaled.size.map(start);
                scaled.area(left, top, size)
            }
            Resize::CentralFraction(part) => {
                let along = |length: u32| {
                    let start = (f64::from(length) * (1.0 - part) / 2.0).floor();
                    (start, f64::from(length) - 2.0 * start)
                };
                let ((left, width), (top, height)) = (along(width), along(height));
                CropRect {
                    left,
                    top,
                    width,
                    height,
                }
            }
        }
    }

    /// Writes the image's pixels, normalised, into `out` channel by channel: `[3, height, width]`.
    ///
    /// # Errors
    /// [`PreprocessError::Buffer`] unless `out` holds exactly 3 × height × width values.
    pub fn normalize_into(&self, image: &RgbImage, out: &mut [f32]) -> Result<(), PreprocessError> {
        let plane = image.width() as usize * image.height() as usize;
        if out.len() != 3 * plane {
            return Err(PreprocessError::Buffer {
                found: out.len(),
                expected: 3 * plane,
            });
        }
        if plane == 0 {
            return Ok(());
        }
        let (range_scale, range_start) = match self.range {
            PixelRange::Byte => (1.0, 0.0),
            PixelRange::Unit => (1.0 / 255.0, 0.0),
            PixelRange::Signed => (2.0 / 255.0, -1.0),
        };
        let source = match self.color {
            ColorOrder::Rgb => [0, 1, 2],
            ColorOrder::Bgr => [2, 1, 0],
        };
        for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
            let std = f64::from(self.std[channel]);
            let scale = (range_scale / std) as f32;
            let shift = ((range_start - f64::from(self.mean[channel])) / std) as f32;
            for (out, pixel) in out.iter_mut().zip(image.as_raw().chunks_exact(3)) {
                *out = f32::from(pixel[source[channel]]) * scale + shift;
            }
        }
        Ok(())
    }
}

/// An image scaled until its short side has a given length, the aspect kept. The rounding is torchvision's.
pub(crate) struct Scaled {
    /// Width and height of the scaled image.
    pub(crate) size: [f64; 2],
    /// Width and height of one of its pixels, in those of the original.
    pixel: [f64; 2],
}

impl Scaled {
    pub(crate) fn new(width: u32, height: u32, short_side: u32) -> Self {
        let short = u64::from(width.min(height)).max(1);
        let scaled = |length: u32| (u64::from(short_side) * u64::from(length) / short) as f64;
        let size = [scaled(width), scaled(height)];
        Self {
            size,
            pixel: [f64::from(width) / size[0], f64::from(height) / size[1]],
        }
    }

    /// A square of the scaled image, in pixels of the original.
    pub(crate) fn area(&self, left: f64, top: f64, side: f64) -> CropRect {
        let [width, height] = self.pixel;
        CropRect {
            left: left * width,
            top: top * height,
            width: side * width,
            height: side * height,
        }
    }
}

/// A rectangle of an image, in pixels of that image; its edges may lie between pixels.
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
/// [`PreprocessError`] when the image has no pixels or the rectangle is not inside it.
pub fn crop_resize(
    image: &RgbImage,
    crop: CropRect,
    size: u32,
    interpolation: Interpolation,
) -> Result<RgbImage, PreprocessError> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(PreprocessError::NoPixels { width, height });
    }
    let refused = |reason: String| PreprocessError::Resize(reason);
    let source = ImageRef::new(width, height, image.as_raw(), PixelType::U8x3)
        .map_err(|e| refused(e.to_string()))?;
    let mut target = Image::new(size, size, PixelType::U8x3);
    let filter = match interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Bicubic => FilterType::Custom(
            Filter::new("cubic", cubic, 2.0).map_err(|e| refused(e.to_string()))?,
        ),
    };
    let CropRect { left, top, .. } = crop;
    let starts_inside =
        (0.0..f64::from(width)).contains(&left) && (0.0..f64::from(height)).contains(&top);
    if !starts_inside
        || crop.width.is_nan()
        || crop.width <= 0.0
        || crop.height.is_nan()
        || crop.height <= 0.0
    {
        return Err(refused(format!("{crop:?} is not inside {width}x{height}")));
    }
    // Sums like `left + width` may pass the edge by a rounding error, which the resizer refuses.
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .crop(
            left,
            top,
            crop.width.min(f64::from(width) - left),
            crop.height.min(f64::from(height) - top),
        );
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|e| refused(e.to_string()))?;
    RgbImage::from_raw(size, size, target.into_vec())
        .ok_or_else(|| refused("the result has the wrong length".to_owned()))
}

/// Catmull-Rom's cubic (a = -0.5), never exactly 0 within its support of 2.
///
/// fast_image_resize 6.1 drops zero weights from a pixel's window. Where the first pixel of an
/// enlarged crop falls on a source pixel, its own `CatmullRom` is 0 one pixel away, that window starts
/// to the right of the next one, and the resizer reads outside the image. Without zeros inside the
/// support (the bilinear filter has none) the windows' starts and ends only grow.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    let value = if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        return 0.0;
    };
    if value == 0.0 {
        f64::MIN_POSITIVE
    } else {
        value
    }
}
