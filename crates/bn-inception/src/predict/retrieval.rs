//! Quality of vectors for retrieval: whether the nearest others are of the same class.

use std::collections::HashMap;

use serde::Serialize;

use super::neighbours::NeighbourSearch;

/// Queries of one search, which bounds the memory of its findings.
const QUERIES: usize = 2048;

/// Result of [`NeighbourSearch::scores`]: means over all vectors whose class has others, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetrievalScores {
    /// Recall at K, with K: the fraction of vectors that have one of their class among the K nearest others, as in Jégou
    /// et al. 2011, *Product Quantization for Nearest Neighbor Search*.
    pub recall: Vec<(usize, f64)>,
    /// R-precision: of the R nearest others the fraction of the same class, where R is the number of others in the class.
    pub r_precision: f64,
    /// Mean average precision at R (Musgrave et al. 2020, *A Metric Learning Reality Check*, section 3.2): the precisions
    /// at those of the R nearest that are right, summed and divided by R.
    pub map_at_r: f64,
    /// Vectors that were asked for.
    pub queries: usize,
    /// Vectors that are alone in their class; they are only among the answers.
    pub alone: usize,
    /// Number of classes.
    pub classes: usize,
}

impl NeighbourSearch {
    /// Searches for the others nearest to each vector and compares their classes. `classes` has the class of each
    /// vector, `at` the numbers of neighbours of the recalls.
    ///
    /// ```
    /// use bn_inception::{NeighbourSearch, burn::tensor::Device};
    ///
    /// let vectors = [1.0, 0.0, /* */ 0.9, 0.1, /* */ 0.0, 1.0, /* */ 0.5, 0.4];
    /// let scores = NeighbourSearch::new(&vectors, 2, &Device::flex()).scores(&["a", "a", "b", "b"], &[1, 2]);
    /// assert_eq!(scores.recall, [(1, 0.75), (2, 0.75)]);
    /// ```
    ///
    /// # Panics
    /// If there are not as many classes as vectors.
    pub fn scores<C: Eq + std::hash::Hash>(&self, classes: &[C], at: &[usize]) -> RetrievalScores {
        assert_eq!(classes.len(), self.len(), "a class for each vector");
        let mut sizes = HashMap::<&C, usize>::new();
        for class in classes {
            *sizes.entry(class).or_default() += 1;
        }
        let largest = sizes.values().max().map_or(0, |size| size - 1);
        let count = at.iter().copied().chain([largest]).max().unwrap_or_default();
        let (mut queries, mut recalled) = (0, vec![0; at.len()]);
        let (mut r_precision, mut map_at_r) = (0.0, 0.0);
        for start in (0..self.len()).step_by(QUERIES) {
            let rows = start..self.len().min(start + QUERIES);
            for (row, nearest) in rows.clone().zip(self.nearest_others(rows, count)) {
                let others = sizes[&classes[row]] - 1;
                if others == 0 {
                    continue;
                }
                queries += 1;
                let right: Vec<bool> =
                    nearest.iter().map(|neighbour| classes[neighbour.index] == classes[row]).collect();
                let first = right.iter().position(|right| *right);
                for (recalled, at) in recalled.iter_mut().zip(at) {
                    *recalled += usize::from(first.is_some_and(|first| first < *at));
                }
                let (mut found, mut precisions) = (0.0, 0.0);
                for (place, _) in right.iter().take(others).enumerate().filter(|(_, right)| **right) {
                    found += 1.0;
                    precisions += found / (place + 1) as f64;
                }
                r_precision += found / others as f64;
                map_at_r += precisions / others as f64;
            }
        }
        let mean = |sum: f64| sum / f64::max(queries as f64, 1.0);
        RetrievalScores {
            recall: at.iter().copied().zip(recalled.into_iter().map(|count| mean(count as f64))).collect(),
            r_precision: mean(r_precision),
            map_at_r: mean(map_at_r),
            queries,
            alone: self.len() - queries,
            classes: sizes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Sixty vectors of six classes, and one that is alone.
    fn made_up() -> (Vec<f32>, Vec<usize>) {
        let classes: Vec<usize> = (0..60).map(|row| if row < 59 { row % 6 } else { 6 }).collect();
        let values = (0..60 * 8).map(|place| {
            let (row, column) = (place / 8, place % 8);
            let wave = (1.3 * (row + 1) as f64 * (column + 1) as f64).sin();
            (wave + 0.8 * (classes[row] as f64 * (column + 2) as f64).cos()) as f32
        });
        (values.collect(), classes)
    }

    /// Recall of 59 queries.
    const RECALL: [(usize, f64); 4] = [(1, 33.0), (2, 40.0), (4, 54.0), (8, 56.0)];

    /// Reference: `AccuracyCalculator` of pytorch-metric-learning 2 (cosine, k = "max_bin_count"); recall by scikit-learn's
    /// `NearestNeighbors`.
    #[test]
    fn scores_are_those_of_pytorch_metric_learning() {
        let (values, classes) = made_up();
        let scores = NeighbourSearch::new(&values, 8, &Device::flex()).scores(&classes, &[1, 2, 4, 8]);
        for (found, expected) in scores.recall.iter().zip(RECALL) {
            assert!(
                found.0 == expected.0 && (found.1 - expected.1 / 59.0).abs() < 1e-9,
                "{found:?}, expected {expected:?}"
            );
        }
        assert!((scores.r_precision - 0.414_783_427_495).abs() < 1e-6, "{scores:?}");
        assert!((scores.map_at_r - 0.272_829_323_977).abs() < 1e-6, "{scores:?}");
        assert_eq!((scores.queries, scores.alone, scores.classes), (59, 1, 7));
    }

    #[test]
    fn nothing_to_find_is_no_error() {
        let search = NeighbourSearch::new(&[1.0, 0.0, 0.0, 1.0], 2, &Device::flex());
        let scores = search.scores(&["a", "b"], &[1]);
        assert_eq!((scores.recall[0], scores.queries, scores.alone), ((1, 0.0), 0, 2));
        assert_eq!(NeighbourSearch::new(&[], 2, &Device::flex()).scores::<u8>(&[], &[1]).classes, 0);
    }
}
