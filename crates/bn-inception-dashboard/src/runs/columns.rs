//! The points of a curve as a page receives them.

use serde::Serialize;

use super::bucket::Bucket;

/// Significant digits of a mean of several values; hovers show four.
const DIGITS: i32 = 5;

/// Points as columns, which compress better than rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Columns {
    /// Optimizer steps, each as the difference to the one before.
    step: Vec<u64>,
    /// Images trained on, as differences.
    images: Vec<u64>,
    /// Tenths of a second, as differences.
    time: Vec<u64>,
    /// Values; of several steps, their mean.
    mean: Vec<f64>,
    /// Smallest values, if any point stands for several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    min: Vec<f64>,
    /// Largest values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    max: Vec<f64>,
}

impl Columns {
    /// The points of `buckets`.
    pub fn of(buckets: &[Bucket]) -> Self {
        let several = buckets.iter().any(|bucket| bucket.count > 1);
        let number = |value: f32| if several { rounded(value) } else { exact(value) };
        let column = |read: fn(&Bucket) -> f32| buckets.iter().map(|bucket| number(read(bucket))).collect::<Vec<_>>();
        Self {
            step: differences(buckets.iter().map(|bucket| bucket.position.step)),
            images: differences(buckets.iter().map(|bucket| bucket.position.images)),
            time: differences(buckets.iter().map(|bucket| (10.0 * bucket.position.seconds).round() as u64)),
            mean: column(Bucket::mean),
            min: if several { column(|bucket| bucket.min) } else { Vec::new() },
            max: if several { column(|bucket| bucket.max) } else { Vec::new() },
        }
    }

    /// Values or means.
    #[cfg(test)]
    pub fn means(&self) -> &[f64] {
        &self.mean
    }
}

/// Each number less the one before. Positions never decrease within a curve.
fn differences(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut before = 0;
    let differences = numbers.map(|number| {
        let difference = number.saturating_sub(before);
        before = before.max(number);
        difference
    });
    differences.collect()
}

/// The shortest decimal number that is `value` as an `f32`.
fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_default()
}

fn rounded(value: f32) -> f64 {
    let value = f64::from(value);
    let size = value.abs().log10().floor();
    if !size.is_finite() {
        return 0.0;
    }
    let decimals = DIGITS - 1 - size as i32;
    // Divided by a power of ten, as multiplying by its inverse gives another number than the decimal one.
    match 10_f64.powi(decimals.abs()) {
        scale if !scale.is_finite() => value,
        scale if decimals < 0 => (value / scale).round() * scale,
        scale => (value * scale).round() / scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [(1.234_567_8, "1.2346"), (0.000_123_456_78, "0.00012346"), (-98765.43, "-98765.0"), (0.0, "0.0")];
        for (value, text) in cases {
            assert_eq!(serde_json::to_string(&rounded(value)).unwrap(), text);
        }
        assert_eq!(serde_json::to_string(&exact(0.1)).unwrap(), "0.1");
        assert!(rounded(f32::MAX).is_finite() && rounded(f32::MIN_POSITIVE) >= 0.0);
    }
}
