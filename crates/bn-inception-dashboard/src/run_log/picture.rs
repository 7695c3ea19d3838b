//! Pictures in the log.

use serde::{Deserialize, Serialize};

/// An encoded image, in the parts of a data URL (`data:MIME;base64,DATA`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `image/jpeg` or `image/png`.
    pub mime: String,
    /// The encoded image in base64.
    pub data: String,
}

/// The filters of the first layer as tiles in rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterGrid {
    /// Steps taken.
    pub step: u64,
    /// Name of the layer.
    pub layer: String,
    /// Number of filters.
    pub filters: usize,
    /// Number of tiles in a row.
    pub columns: usize,
    /// The tiles. Each filter is scaled to its own range, so zero has no fixed colour.
    pub picture: Picture,
}

/// Grad-CAM overlays (Selvaraju et al. 2017) of a few validation images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradCam {
    /// Steps taken.
    pub step: u64,
    /// Layer whose activations are weighted.
    pub layer: String,
    /// The overlays, of the same images in every event of a run.
    pub overlays: Vec<Overlay>,
}

/// One image and the evidence for the predicted class in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlay {
    /// Path of the image, relative to the folder of validation images.
    pub file: String,
    /// The network's input, made small.
    pub image: Picture,
    /// The same below a heat map of the evidence, strong evidence bright.
    pub overlay: Picture,
    /// Index of the true class.
    pub class: usize,
    /// Index of the predicted class.
    pub predicted: usize,
    /// Probability of the predicted class.
    pub probability: f32,
}
