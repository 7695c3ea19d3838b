//! Crops of one image at several positions and scales, and their mirror images, whose class probabilities are averaged.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use image::imageops::flip_horizontal_in_place;

use crate::error::PreprocessError;
use crate::preprocess::{Preprocess, Resize};
use crate::resize::{CropRect, Scaled, centred, crop_resize};

/// Short sides of the 144-crop evaluation, in pixels, for networks that see 224 (Szegedy et al. 2014, section 7).
const SHORT_SIDES: [u32; 4] = [256, 288, 320, 352];
/// Input size of the networks that [`SHORT_SIDES`] are for, in pixels.
const INPUT_SIZE: u32 = 224;

/// Crops of an image that are evaluated. On command lines: `1`, `10` or `144`.
///
/// Their positions depend on the size of the image and the weights' [`Preprocess`] alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Crops {
    /// The weights' own evaluation crop ([`Preprocess::eval_image`]).
    #[default]
    Single,
    /// The four corners and the centre of the image at the scale of the single crop, and their mirror images
    /// (Krizhevsky et al. 2012, section 4.1). For [`Resize::CentralFraction`] the short side is the input size divided
    /// by the fraction.
    Ten,
    /// The paper's multi-crop evaluation (Figure 4, after Szegedy et al. 2014, section 7): four scales with short
    /// sides of 256, 288, 320 and 352 (in proportion for other inputs than 224); in each the left, middle and right
    /// squares, or the upper, middle and lower ones of a portrait; in each square the four corners, the centre, and
    /// the whole square scaled to the input size; and the mirror images: 4 x 3 x 6 x 2.
    Many,
}

/// A number of crops that is none of 1, 10 and 144.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown number of crops `{0}`, expected 1, 10 or 144")]
pub struct UnknownCrops(
    /// The number given.
    pub String,
);

/// One view of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
struct View {
    /// Part of the image that is scaled to the network's input, in pixels of the image.
    area: CropRect,
    /// Left and right swapped.
    mirrored: bool,
    /// Number of crops equal to this view: in a square image, for example, the three squares are one.
    count: u32,
}

impl Crops {
    /// Number of crops, duplicates included.
    pub fn count(self) -> u32 {
        match self {
            Crops::Single => 1,
            Crops::Ten => 10,
            Crops::Many => 144,
        }
    }

    /// The distinct crops of `image` for weights with this `preprocess`, `size` × `size` pixels, not normalised, each
    /// with its number of occurrences. The numbers add up to [`Self::count`].
    ///
    /// # Errors
    /// [`PreprocessError`] if the image has no pixels or [`Preprocess::check`] fails.
    pub fn render(self, image: &RgbImage, preprocess: &Preprocess) -> Result<Vec<(RgbImage, u32)>, PreprocessError> {
        preprocess.check()?;
        let views = self.views(preprocess, image.width(), image.height());
        let rendered = views.iter().map(|view| Ok((view.render(image, preprocess)?, view.count)));
        rendered.collect()
    }

    /// The distinct views of an image of `width` × `height` pixels; their counts add up to [`Self::count`].
    ///
    /// Each is cut from the original and scaled once. Scaling the image before cutting gives the same pixels, except
    /// for the whole squares of [`Crops::Many`], which would be scaled twice: here they are the same at each scale.
    fn views(self, preprocess: &Preprocess, width: u32, height: u32) -> Vec<View> {
        let size = f64::from(preprocess.size);
        let mut views = Vec::new();
        match self {
            Crops::Single => add(&mut views, preprocess.eval_crop(width, height), false),
            Crops::Ten => {
                let scaled = Scaled::new(width, height, short_side(preprocess));
                for [left, top] in five_places([0.0; 2], scaled.size, size) {
                    add_both(&mut views, scaled.area(left, top, size));
                }
            }
            Crops::Many => {
                for short in SHORT_SIDES {
                    let short = proportional(short, preprocess.size);
                    let scaled = Scaled::new(width, height, short);
                    let side = f64::from(short);
                    for origin in squares(scaled.size, side) {
                        for [left, top] in five_places(origin, [side; 2], size) {
                            add_both(&mut views, scaled.area(left, top, size));
                        }
                        add_both(&mut views, scaled.area(origin[0], origin[1], side));
                    }
                }
            }
        }
        views
    }
}

impl View {
    fn render(&self, image: &RgbImage, preprocess: &Preprocess) -> Result<RgbImage, PreprocessError> {
        let mut view = crop_resize(image, self.area, preprocess.size, preprocess.interpolation)?;
        if self.mirrored {
            flip_horizontal_in_place(&mut view);
        }
        Ok(view)
    }
}

/// Short side of the image at the scale of the single crop.
fn short_side(preprocess: &Preprocess) -> u32 {
    match preprocess.resize {
        Resize::ShortSide(side) => side,
        Resize::CentralFraction(part) => (f64::from(preprocess.size) / part).round() as u32,
    }
}

/// A length for networks that see 224 pixels, in proportion for one that sees `size` pixels.
fn proportional(pixels: u32, size: u32) -> u32 {
    (f64::from(pixels) * f64::from(size) / f64::from(INPUT_SIZE)).round() as u32
}

/// Upper left corners of the three squares of an image of `[width, height]`, its short side `side`.
fn squares([width, height]: [f64; 2], side: f64) -> [[f64; 2]; 3] {
    [[0.0, 0.0], [centred(width, side), centred(height, side)], [width - side, height - side]]
}

/// Upper left corners of the squares of `size` in the four corners and the centre of an area.
fn five_places([left, top]: [f64; 2], [width, height]: [f64; 2], size: f64) -> [[f64; 2]; 5] {
    let (right, bottom) = (left + width - size, top + height - size);
    [
        [left, top],
        [right, top],
        [left, bottom],
        [right, bottom],
        [left + centred(width, size), top + centred(height, size)],
    ]
}

fn add_both(views: &mut Vec<View>, area: CropRect) {
    add(views, area, false);
    add(views, area, true);
}

fn add(views: &mut Vec<View>, area: CropRect, mirrored: bool) {
    let mut same = views.iter_mut().filter(|view| view.mirrored == mirrored && is_same(view.area, area));
    match same.next() {
        Some(view) => view.count += 1,
        None => views.push(View { area, mirrored, count: 1 }),
    }
}

/// `true` if two areas differ at most by rounding errors.
fn is_same(a: CropRect, b: CropRect) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    near(a.left, b.left) && near(a.top, b.top) && near(a.width, b.width) && near(a.height, b.height)
}

impl fmt::Display for Crops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count())
    }
}

impl FromStr for Crops {
    type Err = UnknownCrops;

    fn from_str(count: &str) -> Result<Self, UnknownCrops> {
        [Crops::Single, Crops::Ten, Crops::Many]
            .into_iter()
            .find(|crops| crops.to_string() == count)
            .ok_or_else(|| UnknownCrops(count.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_scale_of(view: &View, scale: f64) -> [f64; 4] {
        let CropRect { left, top, width, height } = view.area;
        [left, top, width, height].map(|pixels| (pixels * scale * 1e6).round() / 1e6)
    }

    #[test]
    fn counts_add_up_for_every_shape() {
        let preprocess = Preprocess::cadene();
        for crops in [Crops::Single, Crops::Ten, Crops::Many] {
            for (width, height) in [(224, 224), (500, 375), (375, 500), (1, 1), (1, 9000), (257, 256)] {
                let views = crops.views(&preprocess, width, height);
                let sum: u32 = views.iter().map(|view| view.count).sum();
                assert_eq!(sum, crops.count(), "{crops} of {width}x{height}");
            }
        }
        // One square instead of three, the same at each scale.
        assert_eq!(Crops::Many.views(&preprocess, 224, 224).len(), 2 * (4 * 5 + 1));
        assert_eq!(Crops::Many.views(&preprocess, 512, 256).len(), 2 * 3 * (4 * 5 + 1));
        assert_eq!(Crops::Ten.views(&preprocess, 500, 375).len(), 10);
    }

    /// A 512 x 256 image: at a short side of 256 its pixels are those of the scaled image.
    #[test]
    fn ten_crops_are_corners_and_centre() {
        let views = Crops::Ten.views(&Preprocess::cadene(), 512, 256);
        let table = [[0.0, 0.0], [288.0, 0.0], [0.0, 32.0], [288.0, 32.0], [144.0, 16.0]];
        for (pair, [left, top]) in views.chunks_exact(2).zip(table) {
            assert_eq!(at_scale_of(&pair[0], 1.0), [left, top, 224.0, 224.0]);
            assert_eq!(pair[0].area, pair[1].area);
            assert!(!pair[0].mirrored && pair[1].mirrored);
        }
        // A fraction of 0.875 is a short side of 256.
        assert_eq!(Crops::Ten.views(&Preprocess::tf_slim(), 512, 256), views);
    }

    #[test]
    fn many_crops_are_six_of_three_squares_of_four_scales() {
        // Image, input size; then scale by scale its short side, and the three squares' upper left corners.
        type Row = ([u32; 2], u32, [(f64, [[f64; 2]; 3]); 4]);
        let table: [Row; 2] = [
            (
                [512, 256],
                224,
                [
                    (256.0, [[0.0, 0.0], [128.0, 0.0], [256.0, 0.0]]),
                    (288.0, [[0.0, 0.0], [144.0, 0.0], [288.0, 0.0]]),
                    (320.0, [[0.0, 0.0], [160.0, 0.0], [320.0, 0.0]]),
                    (352.0, [[0.0, 0.0], [176.0, 0.0], [352.0, 0.0]]),
                ],
            ),
            (
                [100, 300],
                112,
                [
                    (128.0, [[0.0, 0.0], [0.0, 128.0], [0.0, 256.0]]),
                    (144.0, [[0.0, 0.0], [0.0, 144.0], [0.0, 288.0]]),
                    (160.0, [[0.0, 0.0], [0.0, 160.0], [0.0, 320.0]]),
                    (176.0, [[0.0, 0.0], [0.0, 176.0], [0.0, 352.0]]),
                ],
            ),
        ];
        for ([width, height], size, scales) in table {
            let preprocess = Preprocess { size, ..Preprocess::cadene() };
            let views = Crops::Many.views(&preprocess, width, height);
            let mut expected = Vec::new();
            let size = f64::from(size);
            for (short, squares) in scales {
                let scale = short / f64::from(width.min(height));
                for [x, y] in squares {
                    let (far, half) = (short - size, (short - size) / 2.0);
                    for [left, top, side] in [
                        [x, y, size],
                        [x + far, y, size],
                        [x, y + far, size],
                        [x + far, y + far, size],
                        [x + half, y + half, size],
                        [x, y, short],
                    ] {
                        expected.push([left, top, side, side].map(|pixels| pixels / scale));
                    }
                }
            }
            for mirrored in [false, true] {
                let views = views.iter().filter(|view| view.mirrored == mirrored);
                let found: Vec<_> = views.map(|view| (at_scale_of(view, 1.0), view.count)).collect();
                for (area, count) in &found {
                    let same = |other: &&[f64; 4]| area.iter().zip(**other).all(|(a, b)| (a - b).abs() < 1e-5);
                    assert_eq!(expected.iter().filter(same).count(), *count as usize, "{area:?}");
                }
                let total: u32 = found.iter().map(|(_, count)| count).sum();
                assert_eq!(total, 72);
            }
        }
    }

    #[test]
    fn every_view_can_be_rendered() {
        for (width, height) in [(1, 1), (1, 50), (50, 1), (33, 47), (61, 61)] {
            let image = RgbImage::from_pixel(width, height, image::Rgb([7, 70, 170]));
            for preprocess in [Preprocess::imagenet(32), Preprocess::tf_slim()] {
                let preprocess = Preprocess { size: 32, ..preprocess };
                for crops in [Crops::Ten, Crops::Many] {
                    for (view, _) in crops.render(&image, &preprocess).unwrap() {
                        assert_eq!(view.dimensions(), (32, 32));
                        assert!(view.pixels().all(|pixel| *pixel == image::Rgb([7, 70, 170])));
                    }
                }
            }
        }
        let nothing = RgbImage::new(0, 3);
        let refused = Crops::Ten.render(&nothing, &Preprocess::cadene());
        assert!(matches!(refused, Err(PreprocessError::NoPixels { .. })), "{refused:?}");
    }

    #[test]
    fn the_single_view_is_that_of_evaluation() {
        let preprocess = Preprocess::imagenet(32);
        for (width, height) in [(32, 32), (40, 60), (90, 33)] {
            let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 9]));
            let views = Crops::Single.render(&image, &preprocess).unwrap();
            assert_eq!(views, [(preprocess.eval_image(&image).unwrap(), 1)]);
        }
    }

    #[test]
    fn mirrored_views_are_mirrored() {
        let image = RgbImage::from_fn(64, 64, |x, _| image::Rgb([x as u8 * 4; 3]));
        let views = Crops::Ten.render(&image, &Preprocess::imagenet(32)).unwrap();
        for pair in views.chunks_exact(2) {
            let [(upright, _), (mirrored, _)] = pair else { unreachable!() };
            assert_eq!(*mirrored, image::imageops::flip_horizontal(upright));
            assert!(upright.get_pixel(0, 0).0[0] < upright.get_pixel(31, 0).0[0]);
        }
    }

    #[test]
    fn names_are_numbers() {
        assert_eq!("144".parse(), Ok(Crops::Many));
        let message = "12".parse::<Crops>().unwrap_err().to_string();
        assert_eq!(message, "unknown number of crops `12`, expected 1, 10 or 144");
    }
}
