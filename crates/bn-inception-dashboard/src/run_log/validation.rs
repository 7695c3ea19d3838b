//! What a pass over the validation images found.

use serde::{Deserialize, Serialize};

use super::picture::Picture;

/// Networks with more classes than this log their top confusions instead of the whole matrix.
pub const MATRIX_CLASSES: usize = 100;

/// How many confusions are logged then.
pub const TOP_CONFUSIONS: usize = 200;

/// The result of one pass over the validation images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// Epochs begun before it, counted from 1.
    pub epoch: usize,
    /// Images whose first guess is right, as a fraction.
    pub top1: f64,
    /// Images with the right class among the first five guesses, as a fraction.
    pub top5: f64,
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// Images looked at.
    pub images: u64,
    /// How long it took.
    pub seconds: f64,
}

/// The result of a validation with what lies behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// The numbers.
    #[serde(flatten)]
    pub result: Validation,
    /// Each class, in the order of the logits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassCount>,
    /// What was taken for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// Some images with their prediction, wrong ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

impl From<Validation> for ValidationReport {
    fn from(result: Validation) -> Self {
        Self {
            result,
            classes: Vec::new(),
            confusion: None,
            samples: Vec::new(),
        }
    }
}

/// The images of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// How many were classified rightly.
    pub correct: u64,
    /// How many there are.
    pub total: u64,
}

/// What was taken for what. Classes are indices into [`Start::labels`](super::Start::labels).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confusion {
    /// `[true class][predicted class]`, up to [`MATRIX_CLASSES`].
    Matrix(Vec<Vec<u64>>),
    /// The [`TOP_CONFUSIONS`] most frequent mistakes, the most frequent first.
    Top(Vec<ConfusedPair>),
}

/// One kind of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusedPair {
    /// The class that it is.
    pub class: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// How often.
    pub count: u64,
}

/// One validation image and what the network made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Name of its file, below the folder of validation images.
    pub file: String,
    /// What the network saw, made small.
    pub thumbnail: Picture,
    /// Index of its class.
    pub class: usize,
    /// Index of the class predicted.
    pub predicted: usize,
    /// Probability of the predicted class.
    pub probability: f32,
    /// Whether the two classes are the same.
    pub correct: bool,
}
