//! Probabilities and the most probable classes.

use serde::Serialize;

/// One class that an image may belong to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Index of the class.
    pub class: usize,
    /// Name of the class.
    pub label: String,
    /// Softmax probability, 0 to 1.
    pub probability: f32,
}

/// Softmax of logits divided by `temperature`, in 64 bits: in 32 the probabilities of classes far behind would all be 0.
pub(crate) fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.iter().map(|logit| ((f64::from(*logit) - f64::from(largest)) / temperature).exp());
    let powers: Vec<f64> = powers.collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The `top` most probable classes, most probable first; ties by class index.
pub(crate) fn rank(probabilities: &[f64], labels: &[String], top: usize) -> Vec<Prediction> {
    let mut ranked: Vec<(usize, f64)> = probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = ranked.into_iter().take(top);
    best.map(|(class, probability)| Prediction {
        class,
        label: labels.get(class).cloned().unwrap_or_default(),
        probability: probability as f32,
    })
    .collect()
}
