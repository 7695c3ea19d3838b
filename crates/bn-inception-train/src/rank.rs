//! The one rule for whether a prediction is right.

/// Number of classes ranked ahead of `class` in a row of logits or probabilities; 0 means that the prediction is right.
/// Ties are broken by class index, and NaN ranks ahead of everything, so that a broken network does not count as a
/// perfect one.
///
/// # Panics
/// If `scores` has no such class.
#[must_use]
pub fn rank<T: PartialOrd>(scores: &[T], class: usize) -> usize {
    let own = &scores[class];
    let behind = |(index, score): (usize, &T)| index == class || score < own || (score == own && index > class);
    scores.iter().enumerate().filter(|pair| !behind(*pair)).count()
}

/// The class of [`rank`] 0: the first of the largest scores, or none if one of them is NaN.
#[must_use]
pub fn predicted<T: PartialOrd>(scores: &[T]) -> Option<usize> {
    let ahead = |best: usize, next: usize| {
        if scores[next] > scores[best] { next } else { best }
    };
    let best = (0..scores.len()).reduce(ahead)?;
    (rank(scores, best) == 0).then_some(best)
}

/// Result of one image in [`evaluate`](fn@crate::evaluate). Classes are those of the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluatedImage {
    /// Its class.
    pub class: usize,
    /// The class ranked first; `None` if a probability is no number.
    pub predicted: Option<usize>,
    /// Probability of that class, 0 to 1.
    pub probability: f64,
    /// Number of classes ranked ahead of its own.
    pub rank: usize,
}

impl EvaluatedImage {
    /// The result of an image of `class` with these `probabilities`.
    pub(crate) fn of(class: usize, probabilities: &[f64]) -> Self {
        let predicted = predicted(probabilities);
        let probability = predicted.map_or(f64::NAN, |predicted| probabilities[predicted]);
        Self { class, predicted, probability, rank: rank(probabilities, class) }
    }
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

    #[test]
    fn the_predicted_class_is_the_one_of_rank_0() {
        let nan = f32::NAN;
        let rows: [&[f32]; 6] =
            [&[0.1, 0.9, 0.3], &[0.5, 0.5, 0.5], &[nan, nan, nan], &[nan, 0.5, 0.1], &[0.1, 0.5, nan], &[]];
        for row in rows {
            let first = (0..row.len()).find(|class| rank(row, *class) == 0);
            assert_eq!(predicted(row), first, "{row:?}");
        }
    }
}
