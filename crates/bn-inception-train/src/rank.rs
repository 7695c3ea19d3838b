//! Whether a network is right.

/// How many classes are ahead of `class` in a row of logits or probabilities; 0 means that the network is right. Equal
/// ones are ranked by class index, and NaN is ahead of everything, so that a broken network is not taken for a perfect
/// one.
///
/// # Panics
/// If `scores` has no such class.
#[must_use]
pub fn rank<T: PartialOrd>(scores: &[T], class: usize) -> usize {
    let own = &scores[class];
    let behind = |(index, score): (usize, &T)| {
        index == class || score < own || (score == own && index > class)
    };
    scores
        .iter()
        .enumerate()
        .filter(|pair| !behind(*pair))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_the_classes_ahead() {
        let nan = f32::NAN;
        let cases: [(&[f32], usize, usize); 6] = [
            (&[0.1, 0.9, 0.3], 1, 0),
            (&[0.1, 0.9, 0.3], 2, 1),
            (&[0.1, 0.9, 0.3], 0, 2),
            (&[0.5, 0.5, 0.5], 1, 1),
            (&[nan, nan, nan], 0, 2),
            (&[nan, 0.5, 0.1], 1, 1),
        ];
        for (row, class, expected) in cases {
            assert_eq!(rank(row, class), expected, "{row:?} {class}");
        }
    }
}
