//! Results of a validation.

use serde::{Deserialize, Serialize};

use super::picture::Picture;

/// Maximum number of classes with a whole confusion matrix; with more, the top confusions are logged.
pub const MATRIX_CLASSES: usize = 100;

/// Number of top confusions logged.
pub const TOP_CONFUSIONS: usize = 200;

/// The result of one pass over the validation images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// Epochs begun before it, counted from 1.
    pub epoch: usize,
    /// Top-1 accuracy, as a fraction.
    pub top1: f64,
    /// Top-5 accuracy, as a fraction.
    pub top5: f64,
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// Number of images.
    pub images: u64,
    /// Duration in seconds.
    pub seconds: f64,
}

/// The result of a validation with its details.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Accuracy and loss.
    #[serde(flatten)]
    pub result: Validation,
    /// Results by class, in the order of the logits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassCount>,
    /// Confusions between classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// Some images with their predictions, wrong ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

impl From<Validation> for ValidationReport {
    fn from(result: Validation) -> Self {
        Self { result, classes: Vec::new(), confusion: None, samples: Vec::new() }
    }
}

/// Result of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// Number of images classified correctly.
    pub correct: u64,
    /// Number of images.
    pub total: u64,
}

/// Confusions between classes, which are indices into [`Start::labels`](super::Start::labels).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confusion {
    /// Counts as `[true class][predicted class]`, for up to [`MATRIX_CLASSES`] classes.
    Matrix(Vec<Vec<u64>>),
    /// The [`TOP_CONFUSIONS`] most frequent confusions, in descending order.
    Top(Vec<ConfusedPair>),
}

/// Images of one class that were taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusedPair {
    /// Index of the true class.
    pub class: usize,
    /// Index of the predicted class.
    pub predicted: usize,
    /// Number of images.
    pub count: u64,
}

/// One validation image with its prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Path of the image, relative to the folder of validation images.
    pub file: String,
    /// The network's input, made small.
    pub thumbnail: Picture,
    /// Index of the true class.
    pub class: usize,
    /// Index of the predicted class.
    pub predicted: usize,
    /// Probability of the predicted class.
    pub probability: f32,
    /// True if the prediction is right.
    pub correct: bool,
}
