//! Counting values in bins.

use bn_inception_dashboard::run_log::Histogram;

/// Bins of every histogram in the log.
const BINS: usize = 30;

/// The histogram of all finite values in `parts`; `None` if there are none.
pub(super) fn of(parts: &[impl AsRef<[f32]>]) -> Option<Histogram> {
    let values = || parts.iter().flat_map(AsRef::as_ref).copied().filter(|v| v.is_finite());
    let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
    let (mut sum, mut sum_squares) = (0.0, 0.0);
    for value in values() {
        min = min.min(value);
        max = max.max(value);
        sum += f64::from(value);
        sum_squares += f64::from(value) * f64::from(value);
    }
    if min > max {
        return None;
    }
    let mut counts = vec![0_u64; BINS];
    // In f64, so that the width of the widest range is finite.
    let (start, width) = (f64::from(min), f64::from(max) - f64::from(min));
    let scale = if width > 0.0 { BINS as f64 / width } else { 0.0 };
    for value in values() {
        let bin = ((f64::from(value) - start) * scale) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    Some(Histogram { min, max, sum, sum_squares, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_counted_once() {
        let parts = [vec![0.0, 30.0, 29.5, 1.0], vec![f32::NAN, 15.0, f32::INFINITY]];
        let found = of(&parts).unwrap();
        assert_eq!((found.min, found.max), (0.0, 30.0));
        assert_eq!(found.sum, 75.5);
        assert_eq!(found.sum_squares, 900.0 + 29.5 * 29.5 + 1.0 + 225.0);
        let filled: Vec<_> = (0..BINS).filter(|bin| found.counts[*bin] > 0).collect();
        assert_eq!(filled, [0, 1, 15, 29]);
        assert_eq!(found.counts[29], 2);
    }

    #[test]
    fn one_value_and_no_value_are_fine() {
        let same = of(&[vec![2.0; 7]]).unwrap();
        assert_eq!((same.min, same.max, same.counts[0]), (2.0, 2.0, 7));
        assert_eq!(of(&[vec![f32::NAN], vec![]]), None);
        let wide = of(&[vec![f32::MIN, f32::MAX]]).unwrap();
        assert_eq!((wide.counts[0], wide.counts[BINS - 1]), (1, 1));
    }
}
