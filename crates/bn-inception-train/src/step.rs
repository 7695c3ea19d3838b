//! One pass over a batch: forward, loss, backward, and the ranks of the right classes.

use bn_inception::{FoldedModel, Model};
use bn_inception_data::ImageBatch;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorReadError};
use serde::{Deserialize, Serialize};

use crate::optim::{self, Flat};
use crate::rank::rank;

/// The result of a batch, read from the device once for all uses.
#[derive(Serialize, Deserialize)]
pub(crate) struct Scores {
    /// Sum of the images' losses.
    pub loss: f64,
    /// Rank of each image's class.
    pub ranks: Vec<usize>,
    logits: Vec<f32>,
    classes: Vec<i64>,
}

impl Scores {
    fn read(losses: Tensor<1>, logits: Tensor<2>, classes: Tensor<1, Int>) -> Result<Self, TensorReadError> {
        let mut scores = Self {
            loss: losses.sum().try_into_scalar::<f64>()?,
            ranks: Vec::new(),
            logits: logits.try_into_vec_as::<f32>()?,
            classes: classes.try_into_vec_as::<i64>()?,
        };
        scores.ranks = scores.rows().map(|(row, class)| rank(row, class)).collect();
        Ok(scores)
    }

    /// Logits and class of each image.
    pub fn rows(&self) -> impl Iterator<Item = (&[f32], usize)> {
        let width = self.logits.len() / self.classes.len().max(1);
        let rows = self.logits.chunks_exact(width.max(1)).zip(&self.classes);
        rows.map(|(row, class)| (row, *class as usize))
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.ranks.len()
    }

    /// Number of images whose class is among the first `guesses` guesses.
    pub fn right(&self, guesses: usize) -> usize {
        self.ranks.iter().filter(|rank| **rank < guesses).count()
    }
}

/// A batch's part in a step.
pub(crate) struct Part {
    /// Gradients of the mean loss.
    pub gradients: Flat,
    pub scores: Scores,
    /// Statistics for batch normalisation, if the running ones were kept.
    pub statistics: Vec<f32>,
}

/// The part of `batch`. `model` is on an autodiff device, `batch` on the plain one. The batch's statistics for batch
/// normalisation are blended into the running ones, or else, with `apart`, returned.
pub(crate) fn train(model: &Model, batch: ImageBatch, smoothing: f64, apart: bool) -> Result<Part, TensorReadError> {
    let images = batch.images.autodiff();
    let (logits, statistics) = if apart { model.forward_part(images) } else { (model.forward(images), None) };
    let losses = cross_entropy(logits.clone(), batch.targets.clone(), smoothing);
    let gradients = optim::gradients(model, losses.clone().mean().backward());
    let (losses, logits) = (losses.without_autodiff(), logits.without_autodiff());
    let statistics = statistics.map_or(Ok(Vec::new()), |statistics| statistics.try_into_vec_as::<f32>())?;
    Ok(Part { gradients, scores: Scores::read(losses, logits, batch.targets)?, statistics })
}

/// Scores of the network for inference, without label smoothing.
pub(crate) fn validate(model: &FoldedModel, batch: ImageBatch) -> Result<Scores, TensorReadError> {
    let logits = model.forward(batch.images);
    let losses = cross_entropy(logits.clone(), batch.targets.clone(), 0.0);
    Scores::read(losses, logits, batch.targets)
}

/// Loss of each image: cross-entropy with targets that give each of the `K` classes `smoothing / K` and the right one
/// `1 - smoothing` more, as PyTorch's `CrossEntropyLoss(label_smoothing=…)`.
///
/// # Shapes
/// Logits `[N, K]`, classes `[N]` → `[N]`
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let [images, _] = logits.dims();
    let logs = log_softmax(logits, 1);
    let right = logs.clone().gather(1, targets.reshape([images, 1])).reshape([images]);
    if smoothing == 0.0 {
        return right.neg();
    }
    let all = logs.mean_dim(1).reshape([images]);
    (right.mul_scalar(1.0 - smoothing) + all.mul_scalar(smoothing)).neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use serde_json::Value;

    /// The same numbers as PyTorch's `CrossEntropyLoss`, from the fixture beside the network's own.
    #[test]
    fn the_loss_agrees_with_pytorch() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../bn-inception/tests/fixtures/parity/optim.json");
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let fixture = &fixture["cross_entropy"];
        let matrix = |value: &Value| {
            let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
            let shape = [rows.len(), rows[0].len()];
            TensorData::new(rows.concat(), shape)
        };
        let targets: Vec<i64> = serde_json::from_value(fixture["targets"].clone()).unwrap();
        let device = Device::flex().autodiff();
        for case in fixture["cases"].as_array().unwrap() {
            let logits = Tensor::<2>::from_data(matrix(&fixture["logits"]), &device).require_grad();
            let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &device);
            let smoothing = case["label_smoothing"].as_f64().unwrap();
            let loss = cross_entropy(logits.clone(), targets, smoothing).mean();
            let gradients = loss.backward();
            let gradient = logits.grad(&gradients).unwrap();
            let expected = case["loss"].as_f64().unwrap();
            let found = loss.into_scalar::<f64>();
            assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
            let expected = Tensor::<2>::from_data(matrix(&case["gradient"]), &Device::flex());
            let difference = (gradient - expected).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-6, "gradient differs by {difference}");
        }
    }
}
