//! From images to named classes.

mod classifier;
mod ensemble;
mod image_source;
mod prediction;

pub use classifier::ImageClassifier;
pub use ensemble::{Ensemble, EnsembleError, Views};
pub use image_source::{ImageSource, PredictError};
pub use prediction::Prediction;
