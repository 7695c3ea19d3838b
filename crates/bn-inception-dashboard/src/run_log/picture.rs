//! Pictures within the log.

use serde::{Deserialize, Serialize};

/// An encoded image, ready for a page: `data:MIME;base64,DATA`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `image/jpeg` or `image/png`.
    pub mime: String,
    /// The file's bytes in base64.
    pub data: String,
}

/// The filters of the first layer, one tile each, in rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterGrid {
    /// Steps taken.
    pub step: u64,
    /// Name of the layer.
    pub layer: String,
    /// How many filters.
    pub filters: usize,
    /// Tiles in a row.
    pub columns: usize,
    /// The tiles; each filter is scaled to its own range, so that zero has no fixed colour.
    pub picture: Picture,
}

/// Grad-CAM overlays (Selvaraju et al. 2017) of a few fixed validation images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradCam {
    /// Steps taken.
    pub step: u64,
    /// End point whose activations are weighted.
    pub layer: String,
    /// The images, the same ones in every event of a run.
    pub overlays: Vec<Overlay>,
}

/// One image and the evidence in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlay {
    /// Name of its file, below the folder of validation images.
    pub file: String,
    /// The image as the network saw it, made small.
    pub image: Picture,
    /// The same with the evidence for the predicted class over it, strong evidence bright.
    pub overlay: Picture,
    /// Index of its class.
    pub class: usize,
    /// Index of the class predicted.
    pub predicted: usize,
    /// Probability of the predicted class.
    pub probability: f32,
}
