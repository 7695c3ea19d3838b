//! Calibration: probabilities compared with accuracies, and a temperature that brings them together.

use serde::Serialize;

use crate::rank::EvaluatedImage;

/// Number of bins of [`calibration_error`], that of its source.
const BINS: usize = 15;

/// Temperatures that a fit may have. It ends at one of them if all images are right, or none is better than guessed.
const TEMPERATURES: [f64; 2] = [0.01, 100.0];

/// Result of [`calibrate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Calibration {
    /// Number that logits are to be divided by, in addition to the temperature that they have been divided by already.
    pub temperature: f64,
    /// Images that it was fitted to.
    pub fitted_images: usize,
    /// The other images, which the errors are of.
    pub other_images: usize,
    /// Their [`calibration_error`] with the probabilities as they are.
    pub error_before: f64,
    /// Their [`calibration_error`] with the temperature.
    pub error_after: f64,
}

/// Expected calibration error, 0 to 1: the distance between the accuracy and the mean probability of the predicted class,
/// averaged over 15 bins of that probability, each weighted by its images (Guo et al. 2017, *On Calibration of Modern
/// Neural Networks*, equation 3). Images without a prediction are left out; without any image it is 0.
pub fn calibration_error(images: &[EvaluatedImage]) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    let mut count = 0.0;
    for image in images.iter().filter(|image| image.predicted.is_some()) {
        let bin = (image.probability * BINS as f64).ceil() as usize;
        let (right, confident) = &mut bins[bin.clamp(1, BINS) - 1];
        *right += f64::from(u8::from(image.rank == 0));
        *confident += image.probability;
        count += 1.0;
    }
    // The bins' own numbers of images cancel.
    bins.iter().map(|(right, confident)| (right - confident).abs()).sum::<f64>() / f64::max(count, 1.0)
}

/// Fits a temperature to every second image, by the likelihood of their classes (section 4.2 of the same paper), and
/// measures it on the others. `probabilities` has a row of all classes for each image.
///
/// `None` with fewer than two images, or probabilities that are no numbers.
pub fn calibrate(images: &[EvaluatedImage], probabilities: &[Vec<f32>]) -> Option<Calibration> {
    let pairs: Vec<_> = images.iter().zip(probabilities).collect();
    let fitted: Vec<_> = pairs.iter().step_by(2).map(|(image, row)| (image.class, row.as_slice())).collect();
    let others: Vec<_> = pairs.iter().skip(1).step_by(2).collect();
    if others.is_empty() || probabilities.iter().flatten().any(|probability| !probability.is_finite()) {
        return None;
    }
    let temperature = fit(&fitted);
    let before: Vec<EvaluatedImage> = others.iter().map(|(image, _)| (*image).clone()).collect();
    let after = others.iter().map(|(image, row)| {
        let probability = image.predicted.map_or(f64::NAN, |class| tempered(row, temperature.recip())[class]);
        EvaluatedImage { probability, ..(*image).clone() }
    });
    Some(Calibration {
        temperature,
        fitted_images: fitted.len(),
        other_images: others.len(),
        error_before: calibration_error(&before),
        error_after: calibration_error(&after.collect::<Vec<_>>()),
    })
}

/// Logarithm of a probability, finite where it is too small for its type.
fn logarithm(probability: f32) -> f64 {
    f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

/// The probabilities of `row` with their logits multiplied by `factor`.
fn tempered(row: &[f32], factor: f64) -> Vec<f64> {
    let largest = row.iter().copied().map(logarithm).fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|probability| (factor * (logarithm(*probability) - largest)).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The temperature with the greatest likelihood of the classes of `images`. The likelihood's logarithm is concave in the
/// temperature's reciprocal, so Newton's method finds its maximum, between bounds that it halves where it leaves them.
fn fit(images: &[(usize, &[f32])]) -> f64 {
    let [mut high, mut low] = TEMPERATURES.map(f64::recip);
    if slope(images, low).0 >= 0.0 {
        return low.recip();
    }
    if slope(images, high).0 <= 0.0 {
        return high.recip();
    }
    let mut factor = 1.0;
    for _ in 0..100 {
        let (slope, curvature) = slope(images, factor);
        *(if slope > 0.0 { &mut high } else { &mut low }) = factor;
        let newton = factor - slope / curvature;
        let next = if newton > low && newton < high { newton } else { (low * high).sqrt() };
        let change = (next / factor - 1.0).abs();
        factor = next;
        if change < 1e-9 {
            break;
        }
    }
    factor.recip()
}

/// First and second derivative of the negative log-likelihood by the factor of the logits.
fn slope(images: &[(usize, &[f32])], factor: f64) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for (class, row) in images {
        let mean = |power| {
            let terms = tempered(row, factor).into_iter().zip(*row);
            terms.map(|(weight, probability)| weight * logarithm(*probability).powi(power)).sum::<f64>()
        };
        let first = mean(1);
        sums.0 += first - logarithm(row[*class]);
        sums.1 += mean(2) - first * first;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(class: usize, predicted: usize, probability: f64) -> EvaluatedImage {
        let rank = usize::from(class != predicted);
        EvaluatedImage { class, predicted: Some(predicted), probability, rank }
    }

    #[test]
    fn the_error_is_the_distance_of_confidence_from_accuracy() {
        assert_eq!(calibration_error(&[]), 0.0);
        // Three of four right at 0.75, one of two at 0.55: 0 and 0.05, weighted by 4 and 2 of 6.
        let mut images: Vec<_> = [0, 0, 0, 1].map(|class| image(class, 0, 0.75)).into();
        assert!(calibration_error(&images) < 1e-12);
        images.extend([0, 1].map(|class| image(class, 0, 0.55)));
        assert!((calibration_error(&images) - 0.1 / 6.0).abs() < 1e-12);
        // The bins' upper bounds belong to them: both images in the last one.
        assert!((calibration_error(&[image(0, 0, 1.0), image(1, 0, 0.95)]) - 0.475).abs() < 1e-12);
    }

    /// Logits three times too large, of classes drawn by the right ones.
    #[test]
    fn a_temperature_that_was_applied_is_found() {
        let mut random = 1_u64;
        let mut uniform = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (mut images, mut rows) = (Vec::new(), Vec::new());
        for _ in 0..8000 {
            let logits: Vec<f64> = (0..5).map(|_| 3.0 * uniform()).collect();
            let softmax = |factor: f64| -> Vec<f64> {
                let powers: Vec<f64> = logits.iter().map(|logit| (factor * logit).exp()).collect();
                powers.iter().map(|power| power / powers.iter().sum::<f64>()).collect()
            };
            let mut rest = uniform();
            let drawn = softmax(1.0).iter().position(|probability| {
                rest -= probability;
                rest < 0.0
            });
            let stated = softmax(3.0);
            let (best, probability) = stated.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            images.push(image(drawn.unwrap_or(4), best, probability));
            rows.push(stated.iter().map(|probability| *probability as f32).collect::<Vec<_>>());
        }
        let found = calibrate(&images, &rows).unwrap();
        assert!((found.temperature - 3.0).abs() < 0.2, "{found:?}");
        assert_eq!((found.fitted_images, found.other_images), (4000, 4000));
        assert!(found.error_before > 0.2 && found.error_after < 0.03, "{found:?}");
    }

    #[test]
    fn extremes_end_at_the_bounds() {
        let rows = vec![vec![0.6, 0.4]; 4];
        let right = [0; 4].map(|class| image(class, 0, 0.6));
        assert_eq!(calibrate(&right, &rows).unwrap().temperature, TEMPERATURES[0]);
        let wrong = [1; 4].map(|class| image(class, 0, 0.6));
        assert!((calibrate(&wrong, &rows).unwrap().temperature - TEMPERATURES[1]).abs() < 1e-9);
        assert_eq!(calibrate(&right[..1], &rows[..1]), None);
        assert_eq!(calibrate(&right, &vec![vec![f32::NAN, 0.4]; 4]), None);
    }
}
