//! Training augmentation in the style of GoogLeNet: a random part of the image at a random shape and scale, mirrored
//! half of the time, with distorted colours (Szegedy et al. 2014, section 6).

use image::RgbImage;
use image::imageops::flip_horizontal_in_place;
use rand::{Rng, RngExt};

use crate::error::PreprocessError;
use crate::resize::{CropRect, Interpolation, crop_resize};

/// Smallest fraction of the image's area that GoogLeNet's crops cover.
pub const GOOGLENET_MIN_AREA: f64 = 0.08;
/// Range of a crop's width over its height.
const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
/// Number of crops tried before falling back to the centre.
const TRIES: usize = 10;
/// Largest relative change of brightness, contrast and saturation at strength 1.
const DISTORTION: f32 = 0.4;
/// Weights of red, green and blue in the gray value (ITU-R BT.601).
const GRAY: [f32; 3] = [0.299, 0.587, 0.114];

/// Random crop, horizontal flip and colour distortion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    size: u32,
    min_area: f64,
    distortion: f32,
}

impl Augment {
    /// Images of `size` × `size` pixels, cut from at least the fraction `min_area` (0 to 1) of the original, their
    /// colours distorted with a strength of `distortion`, from 0 (none) to 1 (factors of 0.6 to 1.4). Values outside
    /// these ranges are clamped. The paper (section 4.2.1) reduces the distortion, because a network that trains faster
    /// sees each image fewer times.
    pub fn new(size: u32, min_area: f64, distortion: f32) -> Self {
        Self { size, min_area: min_area.clamp(0.0, 1.0), distortion: distortion.clamp(0.0, 1.0) }
    }

    /// One random view of `image`.
    ///
    /// # Errors
    /// [`PreprocessError`] if the image has no pixels.
    pub fn apply(&self, image: &RgbImage, random: &mut impl Rng) -> Result<RgbImage, PreprocessError> {
        let crop = random_crop(image.width(), image.height(), self.min_area, random);
        let mut view = crop_resize(image, crop, self.size, Interpolation::Bilinear)?;
        if random.random_bool(0.5) {
            flip_horizontal_in_place(&mut view);
        }
        if self.distortion > 0.0 {
            let reach = DISTORTION * self.distortion;
            let mut factor = || random.random_range(1.0 - reach..=1.0 + reach);
            distort(&mut view, factor(), factor(), factor());
        }
        Ok(view)
    }
}

/// A random part of a `width` × `height` image: its area is uniform, its aspect ratio log-uniform, its position uniform
/// among those that fit. After ten shapes that do not fit, the centre, at the allowed aspect ratio nearest to the
/// image's own.
fn random_crop(width: u32, height: u32, min_area: f64, random: &mut impl Rng) -> CropRect {
    let area = f64::from(width) * f64::from(height);
    for _ in 0..TRIES {
        let part = area * random.random_range(min_area..=1.0);
        let aspect = random.random_range(ASPECT.0.ln()..ASPECT.1.ln()).exp();
        let w = (part * aspect).sqrt().round() as u32;
        let h = (part / aspect).sqrt().round() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            return CropRect {
                left: f64::from(random.random_range(0..=width - w)),
                top: f64::from(random.random_range(0..=height - h)),
                width: f64::from(w),
                height: f64::from(h),
            };
        }
    }
    let (full_width, full_height) = (f64::from(width), f64::from(height));
    let w = full_width.min((full_height * ASPECT.1).round()).max(1.0);
    let h = full_height.min((full_width / ASPECT.0).round()).max(1.0);
    CropRect { left: ((full_width - w) / 2.0).floor(), top: ((full_height - h) / 2.0).floor(), width: w, height: h }
}

/// Scales brightness, contrast (distance from the image's mean gray) and saturation (distance from the pixel's gray).
///
/// Nothing is rounded or clipped between the three, so they commute, and the random order of other implementations
/// would make no difference: all are one pass, `value·a + gray·b + c`.
fn distort(image: &mut RgbImage, brightness: f32, contrast: f32, saturation: f32) {
    let gray = |p: &[u8]| f32::from(p[0]) * GRAY[0] + f32::from(p[1]) * GRAY[1] + f32::from(p[2]) * GRAY[2];
    let pixels = (image.len() / 3).max(1) as f64;
    let total: f64 = image.as_raw().chunks_exact(3).map(|p| f64::from(gray(p))).sum();
    let mean_gray = (total / pixels) as f32;

    let gain = brightness * contrast;
    let own = gain * saturation;
    let from_gray = gain * (1.0 - saturation);
    let constant = brightness * (1.0 - contrast) * mean_gray;
    for pixel in image.as_mut().chunks_exact_mut(3) {
        let shared = gray(pixel) * from_gray + constant;
        for value in pixel {
            // Rounds to the nearest; the cast saturates at 0 and 255.
            *value = (f32::from(*value) * own + shared + 0.5) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::random::{Purpose, generator};

    fn random(index: u64) -> ChaCha8Rng {
        generator(Purpose::Image, 1, 2, index)
    }

    #[test]
    fn crops_keep_their_bounds_and_cover_the_range() {
        let (mut smallest, mut largest) = (1.0_f64, 0.0_f64);
        for index in 0..3000 {
            let crop = random_crop(500, 375, GOOGLENET_MIN_AREA, &mut random(index));
            let part = crop.width * crop.height / (500.0 * 375.0);
            let aspect = crop.width / crop.height;
            assert!((0.079..=1.0).contains(&part), "{crop:?}");
            assert!((0.745..=1.34).contains(&aspect), "{crop:?}");
            assert!(crop.left + crop.width <= 500.0 && crop.top + crop.height <= 375.0);
            smallest = smallest.min(part);
            largest = largest.max(part);
        }
        assert!(smallest < 0.1 && largest > 0.9, "{smallest} to {largest}");
    }

    #[test]
    fn shapes_that_never_fit_fall_back_to_the_centre() {
        let crop = random_crop(1000, 10, GOOGLENET_MIN_AREA, &mut random(0));
        assert_eq!((crop.width, crop.height, crop.top), (13.0, 10.0, 0.0));
        assert_eq!(crop.left, 493.0);
        let crop = random_crop(3, 4000, GOOGLENET_MIN_AREA, &mut random(0));
        assert_eq!((crop.width, crop.height, crop.left), (3.0, 4.0, 0.0));
        let crop = random_crop(1, 1, GOOGLENET_MIN_AREA, &mut random(0));
        assert_eq!((crop.width, crop.height), (1.0, 1.0));
    }

    #[test]
    fn half_of_the_views_are_mirrored() {
        let image = RgbImage::from_fn(64, 64, |x, _| Rgb([4 * x as u8; 3]));
        let augment = Augment::new(16, 0.08, 0.0);
        let mirrored = (0..400)
            .filter(|index| {
                let view = augment.apply(&image, &mut random(*index)).unwrap();
                view.get_pixel(0, 0).0[0] > view.get_pixel(15, 0).0[0]
            })
            .count();
        assert!((150..250).contains(&mirrored), "{mirrored} of 400");
    }

    #[test]
    fn distortion_does_what_each_factor_says() {
        let image = RgbImage::from_fn(2, 1, |x, _| Rgb([[100, 50, 200], [20, 80, 40]][x as usize]));
        let with = |b, c, s| {
            let mut copy = image.clone();
            distort(&mut copy, b, c, s);
            copy.into_raw()
        };
        assert_eq!(with(1.0, 1.0, 1.0), image.as_raw().clone());
        assert_eq!(with(1.2, 1.0, 1.0), [120, 60, 240, 24, 96, 48]);
        assert_eq!(with(2.0, 1.0, 1.0), [200, 100, 255, 40, 160, 80]);
        // Grays are 82.05 and 57.5, their mean 69.775.
        assert_eq!(with(1.0, 0.5, 1.0), [85, 60, 135, 45, 75, 55]);
        assert_eq!(with(1.0, 1.0, 0.0), [82, 82, 82, 58, 58, 58]);
    }
}
