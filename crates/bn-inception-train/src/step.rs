//! One training step and one inference step, as burn-train wants them.

use bn_inception::Model;
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

use crate::loader::ImageBatch;

/// The network together with the loss it is trained on.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The network.
    pub model: Model,
    /// Probability mass that the training loss spreads over all classes, in `[0, 1)`.
    pub label_smoothing: f64,
}

impl Classifier {
    /// `model` with a loss smoothed by `label_smoothing`.
    #[must_use]
    pub fn new(model: Model, label_smoothing: f64) -> Self {
        Self {
            model,
            label_smoothing,
        }
    }
}

/// The loss of each image, `[N, K]` logits against `[N]` classes: cross-entropy with targets that
/// give each of the `K` classes `smoothing / K` and the right one `1 - smoothing` more, as
/// PyTorch's `CrossEntropyLoss(label_smoothing=…)` has it.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let [images, _] = logits.dims();
    let logs = log_softmax(logits, 1);
    let right = logs
        .clone()
        .gather(1, targets.reshape([images, 1]))
        .reshape([images]);
    if smoothing == 0.0 {
        return right.neg();
    }
    let all = logs.mean_dim(1).reshape([images]);
    (right.mul_scalar(1.0 - smoothing) + all.mul_scalar(smoothing)).neg()
}

impl TrainStep for Classifier {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
        // The network trains where its input is differentiated; the loader's tensors are plain.
        let images = batch.images.autodiff();
        let logits = self.model.forward(images);
        let targets = batch.targets;
        let loss = cross_entropy(logits.clone(), targets.clone(), self.label_smoothing);
        let gradients = loss.clone().mean().backward();
        let output =
            ClassificationOutput::new(loss.without_autodiff(), logits.without_autodiff(), targets);
        TrainOutput::new(self, gradients, output)
    }
}

impl InferenceStep for Classifier {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        let logits = self.model.forward(batch.images);
        let loss = cross_entropy(logits.clone(), batch.targets.clone(), 0.0);
        ClassificationOutput::new(loss, logits, batch.targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use serde_json::Value;

    /// The same numbers as PyTorch's `CrossEntropyLoss`, from the fixture beside the network's own.
    #[test]
    fn the_loss_agrees_with_pytorch() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../bn-inception/tests/fixtures/parity/optim.json"
        );
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
