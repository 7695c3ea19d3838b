//! From a decoded image to the values that a network was trained on.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::error::PreprocessError;
use crate::resize::{CropRect, Interpolation, Scaled, centred, crop_resize, crop_resize_to};

/// Largest input or short side that [`Preprocess::check`] accepts, in pixels.
const MAX_SIZE: u32 = 4096;

/// Preprocessing of an image before it enters the network: resized, then each channel `(range(byte) − mean) / std`.
///
/// Colour order, pixel range, mean, deviation, size and crop *belong to the weights*: a photograph prepared in another
/// way loses accuracy without any error. They are therefore one value, stored beside the weights and read back with
/// them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Order of the three channels.
    pub color: ColorOrder,
    /// Interval of the pixel values before mean and standard deviation.
    pub range: PixelRange,
    /// Mean of each channel, in `color` order and in units of `range`.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, in `color` order and in units of `range`.
    pub std: [f32; 3],
    /// Side of the square input, in pixels.
    pub size: u32,
    /// Resizing of an image of any size to `size` × `size`.
    pub resize: Resize,
    /// Filter of the resizing.
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

type Named = (&'static str, fn() -> Preprocess);

/// Preprocessing by name, from the constructors of [`Preprocess`].
const NAMED: [Named; 7] = [
    ("cadene", Preprocess::cadene),
    ("caffe", Preprocess::onnx),
    ("onnx", Preprocess::onnx),
    ("mxnet", Preprocess::mxnet),
    ("tf_slim", Preprocess::tf_slim),
    ("imagenet", || Preprocess::imagenet(224)),
    ("flow", Preprocess::flow),
];

/// No preprocessing has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown preprocessing `{0}`, expected one of: {known}", known = NAMED.map(|(name, _)| name).join(", "))]
pub struct UnknownPreprocess(
    /// The name given.
    pub String,
);

impl FromStr for Preprocess {
    type Err = UnknownPreprocess;

    fn from_str(name: &str) -> Result<Self, UnknownPreprocess> {
        match NAMED.iter().find(|(known, _)| *known == name) {
            Some((_, make)) => Ok(make()),
            None => Err(UnknownPreprocess(name.to_owned())),
        }
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

    /// Optical flow as temporal segment networks read it (`TSN` of tsn-pytorch): grey images of 0–255 around 128, 224 of
    /// 256.
    pub fn flow() -> Self {
        Self::bytes(ColorOrder::Bgr, [128.0; 3])
    }

    /// Weights trained by this project: RGB, 0–1, ImageNet's channel means and standard deviations, and a short side of
    /// 8/7 of `size` (256 for 224).
    pub fn imagenet(size: u32) -> Self {
        Self {
            color: ColorOrder::Rgb,
            range: PixelRange::Unit,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            size,
            resize: Resize::ShortSide(((f64::from(size) * 8.0 / 7.0).round() as u32).min(MAX_SIZE.max(size))),
            interpolation: Interpolation::Bilinear,
        }
    }

    /// Caffe's convention: bytes minus the mean.
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

    /// Validates values from a file or a user.
    ///
    /// # Errors
    /// [`PreprocessError::Field`] with the first field that is out of range.
    pub fn check(&self) -> Result<(), PreprocessError> {
        let wrong = |field, found: &dyn fmt::Debug, expected: &str| {
            Err(PreprocessError::Field { field, found: format!("{found:?}"), expected: expected.to_owned() })
        };
        if !(1..=MAX_SIZE).contains(&self.size) {
            return wrong("size", &self.size, &format!("1 to {MAX_SIZE}"));
        }
        match self.resize {
            Resize::ShortSide(side) if !(self.size..=MAX_SIZE).contains(&side) => {
                let expected = format!("{} to {MAX_SIZE}", self.size);
                return wrong("resize", &self.resize, &expected);
            }
            Resize::CentralFraction(part) if !(part > 0.0 && part <= 1.0) => {
                return wrong("resize", &self.resize, "more than 0, at most 1");
            }
            _ => {}
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return wrong("mean", &self.mean, "finite numbers");
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return wrong("std", &self.std, "positive numbers");
        }
        Ok(())
    }

    /// The evaluation crop of an image of any size: resized, centre cut out, `size` × `size` pixels.
    ///
    /// An image that already has `size` × `size` pixels is returned unchanged: it counts as cropped.
    ///
    /// # Errors
    /// [`PreprocessError`] if the image has no pixels or [`Preprocess::check`] fails.
    pub fn eval_image(&self, image: &RgbImage) -> Result<RgbImage, PreprocessError> {
        self.check()?;
        if image.dimensions() == (self.size, self.size) {
            return Ok(image.clone());
        }
        crop_resize(image, self.eval_crop(image.width(), image.height()), self.size, self.interpolation)
    }

    /// The whole image at the scale of the evaluation crop: its short side is the one that the crop is cut from (256 pixels
    /// for most of 224), and nothing is cut off.
    ///
    /// # Errors
    /// [`PreprocessError`] if the image has no pixels, its long side would be over 4096, or [`Preprocess::check`] fails.
    pub fn whole_image(&self, image: &RgbImage) -> Result<RgbImage, PreprocessError> {
        self.check()?;
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(PreprocessError::NoPixels { width, height });
        }
        let short = match self.resize {
            Resize::ShortSide(side) => side,
            Resize::CentralFraction(part) => (f64::from(self.size) / part).round() as u32,
        };
        let scaled = Scaled::new(width, height, short).size;
        if scaled.iter().any(|length| *length > f64::from(MAX_SIZE)) {
            let [across, down] = scaled;
            let reason = format!("{width}x{height} pixels would become {across}x{down}, at most {MAX_SIZE} a side");
            return Err(PreprocessError::Resize(reason));
        }
        let whole = CropRect { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) };
        crop_resize_to(image, whole, scaled.map(|length| length as u32), self.interpolation)
    }

    /// The evaluation crops of images of any size, normalised: the input of a network, on `device`.
    ///
    /// # Shapes
    /// N images → `[N, 3, size, size]`
    ///
    /// # Errors
    /// [`PreprocessError`] if an image has no pixels or [`Preprocess::check`] fails.
    pub fn batch<'a>(
        &self,
        images: impl IntoIterator<Item = &'a RgbImage>,
        device: &Device,
    ) -> Result<Tensor<4>, PreprocessError> {
        self.check()?;
        let size = self.size as usize;
        let (mut count, mut values) = (0, Vec::new());
        for image in images {
            let start = values.len();
            values.resize(start + 3 * size * size, 0.0);
            self.normalize_into(&self.eval_image(image)?, &mut values[start..])?;
            count += 1;
        }
        Ok(Tensor::from_data(TensorData::new(values, [count, 3, size, size]), device))
    }

    /// The part of a `width` × `height` image that [`Preprocess::eval_image`] scales to the square.
    ///
    /// Cutting before scaling gives the same pixels as scaling before cutting, without computing (and holding in
    /// memory) the pixels that are cut away.
    pub(crate) fn eval_crop(&self, width: u32, height: u32) -> CropRect {
        let size = f64::from(self.size);
        if (width, height) == (self.size, self.size) {
            return CropRect { left: 0.0, top: 0.0, width: size, height: size };
        }
        match self.resize {
            Resize::ShortSide(side) => {
                let scaled = Scaled::new(width, height, side);
                let [left, top] = scaled.size.map(|length| centred(length, size));
                scaled.area(left, top, size)
            }
            Resize::CentralFraction(part) => {
                let along = |length: u32| {
                    let start = (f64::from(length) * (1.0 - part) / 2.0).floor();
                    (start, f64::from(length) - 2.0 * start)
                };
                let ((left, width), (top, height)) = (along(width), along(height));
                CropRect { left, top, width, height }
            }
        }
    }

    /// Factor and summand that turn a byte of channel `channel`, in `color` order, into the network's value.
    fn affine(&self, channel: usize) -> (f32, f32) {
        let (range_scale, range_start) = match self.range {
            PixelRange::Byte => (1.0, 0.0),
            PixelRange::Unit => (1.0 / 255.0, 0.0),
            PixelRange::Signed => (2.0 / 255.0, -1.0),
        };
        let std = f64::from(self.std[channel]);
        ((range_scale / std) as f32, ((range_start - f64::from(self.mean[channel])) / std) as f32)
    }

    /// The luminances of `image` (Rec. 709), normalised with the averages of the three channels' means and deviations:
    /// `[1, height, width]`.
    pub(crate) fn luminances(&self, image: &RgbImage) -> impl Iterator<Item = f32> {
        let average = |of: [f32; 3]| of.iter().sum::<f32>() / 3.0;
        let grey = Self { mean: [average(self.mean); 3], std: [average(self.std); 3], ..self.clone() };
        let (scale, shift) = grey.affine(0);
        let luminances = image::imageops::grayscale(image).into_raw();
        luminances.into_iter().map(move |byte| f32::from(byte) * scale + shift)
    }

    /// Writes the normalised pixels to `out`, channel by channel: `[3, height, width]`.
    ///
    /// # Errors
    /// [`PreprocessError::Buffer`] unless `out` holds exactly 3 × height × width values.
    pub fn normalize_into(&self, image: &RgbImage, out: &mut [f32]) -> Result<(), PreprocessError> {
        let plane = image.width() as usize * image.height() as usize;
        if out.len() != 3 * plane {
            return Err(PreprocessError::Buffer { found: out.len(), expected: 3 * plane });
        }
        if plane == 0 {
            return Ok(());
        }
        let source = match self.color {
            ColorOrder::Rgb => [0, 1, 2],
            ColorOrder::Bgr => [2, 1, 0],
        };
        for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
            let (scale, shift) = self.affine(channel);
            for (out, pixel) in out.iter_mut().zip(image.as_raw().chunks_exact(3)) {
                *out = f32::from(pixel[source[channel]]) * scale + shift;
            }
        }
        Ok(())
    }
}
