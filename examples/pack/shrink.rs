//! Smaller photographs.

use bn_inception_examples::Failure;
use bn_inception_train::data::{CropRect, Interpolation, crop_resize_to, decode};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use serde::{Deserialize, Serialize};

/// Size and quality of the photographs that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrink {
    /// Short side, in pixels.
    pub short_side: u32,
    /// Quality of JPEG, 1 to 100.
    pub quality: u8,
}

/// First bytes of a JPEG file.
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];

impl Shrink {
    /// A JPEG file of the image in `bytes`, its short side scaled to the wanted one; `None` if the file is kept: a JPEG
    /// that is as small already.
    ///
    /// # Errors
    /// [`Failure`] if the image cannot be decoded.
    pub fn apply(self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let image = decode(bytes)?;
        let (width, height) = image.dimensions();
        let short = width.min(height);
        if short <= self.short_side && bytes.starts_with(JPEG) {
            return Ok(None);
        }
        let scaled = |length: u32| {
            let product = u64::from(length) * u64::from(self.short_side.min(short));
            u32::try_from((product + u64::from(short) / 2) / u64::from(short)).map(|length| length.max(1))
        };
        let size = [scaled(width)?, scaled(height)?];
        let whole = CropRect { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) };
        let image = crop_resize_to(&image, whole, size, Interpolation::Bicubic)?;
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, self.quality);
        // Half the colour resolution, as cameras and ImageNet's photographs have it: less to decode.
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        let [width, height] = [u16::try_from(size[0])?, u16::try_from(size[1])?];
        encoder.encode(image.as_raw(), width, height, ColorType::Rgb)?;
        Ok(Some(file))
    }
}
