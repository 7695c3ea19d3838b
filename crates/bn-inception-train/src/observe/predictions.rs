//! Predictions of a network on the validation images.

use std::cmp::Reverse;

use bn_inception_dashboard::run_log::Validation;
use bn_inception_dashboard::run_log::{
    ClassCount, ConfusedPair, Confusion, MATRIX_CLASSES, Sample, TOP_CONFUSIONS, ValidationReport,
};
use bn_inception_data::ImageLoader;

use super::encode;
use crate::rank::predicted;

/// Number of images shown.
const SAMPLES: usize = 12;

/// The predictions of one pass, in the order of the images.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Predictions {
    list: Vec<Prediction>,
    classes: usize,
}

/// The prediction for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Prediction {
    class: usize,
    /// `None` for logits with NaN, which are wrong whatever the class.
    predicted: Option<usize>,
    probability: f32,
}

impl Prediction {
    fn is_right(&self) -> bool {
        self.predicted == Some(self.class)
    }
}

impl Predictions {
    /// Adds the next image: its row of logits and its class.
    pub(crate) fn add(&mut self, logits: &[f32], class: usize) {
        let predicted = predicted(logits);
        let largest = predicted.map_or(f32::NAN, |predicted| logits[predicted]);
        let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        self.classes = logits.len();
        self.list.push(Prediction { class, predicted, probability: sum.recip() });
    }

    /// The whole report. `loader` is the one that the images came from.
    pub(crate) fn report(&self, result: Validation, loader: &ImageLoader) -> ValidationReport {
        let sample = |index: usize| {
            let prediction = self.list[index];
            let (file, image) = loader.picture(index)?;
            Some(Sample {
                file,
                thumbnail: encode::jpeg(&encode::shrink(&image))?,
                class: prediction.class,
                predicted: prediction.predicted?,
                probability: prediction.probability,
                correct: prediction.is_right(),
            })
        };
        ValidationReport {
            result,
            classes: self.class_counts(),
            confusion: Some(self.confusion(MATRIX_CLASSES, TOP_CONFUSIONS)),
            samples: self.chosen().into_iter().filter_map(sample).collect(),
        }
    }

    fn class_counts(&self) -> Vec<ClassCount> {
        let mut counts = vec![ClassCount::default(); self.classes];
        for prediction in &self.list {
            let count = &mut counts[prediction.class];
            count.total += 1;
            count.correct += u64::from(prediction.is_right());
        }
        counts
    }

    fn confusion(&self, matrix_classes: usize, top: usize) -> Confusion {
        let mut matrix = vec![vec![0; self.classes]; self.classes];
        for prediction in &self.list {
            if let Some(predicted) = prediction.predicted {
                matrix[prediction.class][predicted] += 1;
            }
        }
        if self.classes <= matrix_classes {
            return Confusion::Matrix(matrix);
        }
        let rows = matrix.iter().enumerate();
        let pairs = rows.flat_map(|(class, row)| {
            let row = row.iter().enumerate();
            row.filter(move |(predicted, count)| *predicted != class && **count > 0)
                .map(move |(predicted, &count)| ConfusedPair { class, predicted, count })
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by_key(|pair| Reverse(pair.count));
        pairs.truncate(top);
        Confusion::Top(pairs)
    }

    /// Half of the samples from the wrong predictions and half from the right ones, as far as there are any, each
    /// spread evenly over the dataset and so over its classes.
    fn chosen(&self) -> Vec<usize> {
        let of = |correct: bool| -> Vec<usize> {
            let is = |index: &usize| {
                let prediction = self.list[*index];
                prediction.probability.is_finite() && prediction.is_right() == correct
            };
            (0..self.list.len()).filter(is).collect()
        };
        let (wrong, right) = (of(false), of(true));
        let wrongs = (SAMPLES / 2).max(SAMPLES.saturating_sub(right.len()));
        let mut chosen = spread(&wrong, wrongs);
        chosen.extend(spread(&right, SAMPLES - chosen.len()));
        chosen
    }
}

/// `count` of `all`, or all of them, evenly spread.
fn spread(all: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(all.len());
    let place = |number: usize| all[(2 * number + 1) * all.len() / (2 * count)];
    (0..count).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` images, of which every `nth` is right, of three classes.
    fn predictions(count: usize, nth: usize) -> Predictions {
        let mut found = Predictions::default();
        for image in 0..count {
            let class = image * 3 / count;
            let predicted = if image % nth == 0 { class } else { (class + 1) % 3 };
            let mut logits = [0.0; 3];
            logits[predicted] = 1.0;
            found.add(&logits, class);
        }
        found
    }

    #[test]
    fn probabilities_are_softmax() {
        let mut found = Predictions::default();
        found.add(&[1.0, 3.0, 3.0], 2);
        let first = found.list[0];
        assert_eq!((first.class, first.predicted), (2, Some(1)));
        let expected = 1.0 / (2.0 + (-2.0_f32).exp());
        assert!((first.probability - expected).abs() < 1e-6);
    }

    #[test]
    fn a_broken_network_is_wrong_everywhere() {
        let mut found = Predictions::default();
        for class in 0..3 {
            found.add(&[f32::NAN; 3], class);
            found.add(&[f32::NAN, 1.0, 0.0], class);
        }
        let right: u64 = found.class_counts().iter().map(|count| count.correct).sum();
        assert_eq!(right, 0);
        assert_eq!(found.confusion(3, 9), Confusion::Matrix(vec![vec![0; 3]; 3]));
        assert!(found.chosen().is_empty());
    }

    #[test]
    fn counts_and_confusions_add_up() {
        let found = predictions(30, 5);
        let counts = found.class_counts();
        assert!(counts.iter().all(|count| (count.correct, count.total) == (2, 10)));
        let matrix = vec![vec![2, 8, 0], vec![0, 2, 8], vec![8, 0, 2]];
        assert_eq!(found.confusion(3, 9), Confusion::Matrix(matrix));
        let Confusion::Top(pairs) = found.confusion(2, 2) else { panic!("too many classes for a matrix") };
        let pairs: Vec<_> = pairs.iter().map(|p| (p.class, p.predicted, p.count)).collect();
        assert_eq!(pairs, [(0, 1, 8), (1, 2, 8)]);
    }

    #[test]
    fn samples_are_mixed_and_spread() {
        let is_right = |found: &Predictions, index: &usize| found.list[*index].is_right();
        // Images, period of the right ones, samples, right ones among them.
        for (count, nth, samples, right) in [(300, 2, 12, 6), (300, 100, 12, 3), (9, 1, 9, 9), (300, 1, 12, 12)] {
            let found = predictions(count, nth);
            let chosen = found.chosen();
            assert_eq!(chosen.len(), samples, "{count} {nth}");
            let rights = chosen.iter().filter(|index| is_right(&found, index)).count();
            assert_eq!(rights, right, "{count} {nth}");
            let classes: std::collections::BTreeSet<_> = chosen.iter().map(|index| found.list[*index].class).collect();
            assert_eq!(classes.len(), 3);
        }
        assert!(Predictions::default().chosen().is_empty());
    }
}
