//! The camera: exposure, lens, sensor and JPEG quality.

use image::RgbImage;
use rand::{Rng, RngExt};

use super::colour::{Rgb, each};

/// Exposure, lens and sensor.
pub(super) struct Camera {
    gain: Rgb,
    vignette: f32,
    /// Standard deviation of the blur, as a fraction of the picture's side.
    blur: f32,
    noise: f32,
    /// Quality of the JPEG file, in percent.
    pub(super) quality: u8,
}

impl Camera {
    pub(super) fn random(rng: &mut impl Rng) -> Self {
        let exposure = rng.random_range(0.8..1.2);
        Self {
            gain: each(|_| exposure * rng.random_range(0.93..1.07)),
            vignette: rng.random_range(0.0..0.5),
            blur: rng.random_range(0.001..0.007),
            noise: rng.random_range(0.0..0.03),
            quality: rng.random_range(65..=95),
        }
    }

    /// The photograph of a square picture; `rng` makes the sensor's noise.
    pub(super) fn develop(&self, mut light: Vec<Rgb>, side: u32, rng: &mut impl Rng) -> RgbImage {
        let length = side as usize;
        let kernel = gaussian(self.blur * side as f32);
        for stride in [1, length] {
            light = blur(&light, length, stride, &kernel);
        }
        RgbImage::from_fn(side, side, |x, y| {
            let colour = light[y as usize * length + x as usize];
            let centred = [x, y].map(|v| (v as f32 + 0.5) / side as f32 - 0.5);
            let corner = centred[0] * centred[0] + centred[1] * centred[1];
            // The sum of four uniform values is normal enough for grain; its deviation is 1/√3.
            let mut grain = || (0..4).map(|_| rng.random_range(-0.5..0.5f32)).sum::<f32>() * 1.73;
            let value = |c: usize| {
                let exposed = colour[c] * self.gain[c] * (1.0 - self.vignette * corner);
                (255.0 * (exposed + self.noise * grain())).round().clamp(0.0, 255.0) as u8
            };
            image::Rgb([0, 1, 2].map(value))
        })
    }
}

/// One half of a normalised Gaussian, from its centre.
fn gaussian(deviation: f32) -> Vec<f32> {
    let reach = (3.0 * deviation).ceil() as usize;
    let half: Vec<f32> = (0..=reach).map(|i| (-0.5 * (i as f32 / deviation).powi(2)).exp()).collect();
    let total = 2.0 * half.iter().sum::<f32>() - half[0];
    half.into_iter().map(|v| v / total).collect()
}

/// Blurs a square picture along rows (`stride` 1) or columns (`stride` = `side`), repeating the border.
fn blur(light: &[Rgb], side: usize, stride: usize, kernel: &[f32]) -> Vec<Rgb> {
    (0..light.len())
        .map(|index| {
            let at = index / stride % side;
            let line = index - at * stride;
            let sample = |position: usize| light[line + position.min(side - 1) * stride];
            let centre = sample(at).map(|c| c * kernel[0]);
            kernel.iter().enumerate().skip(1).fold(centre, |sum, (reach, weight)| {
                let (before, after) = (sample(at.saturating_sub(reach)), sample(at + reach));
                each(|c| sum[c] + weight * (before[c] + after[c]))
            })
        })
        .collect()
}
