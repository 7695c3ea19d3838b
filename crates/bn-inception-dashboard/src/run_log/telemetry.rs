//! Measurements inside the network and of the machine.

use serde::{Deserialize, Serialize};

/// Measurements inside the network after one optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// Steps taken, this one included.
    pub step: u64,
    /// Blocks in forward order: `stem`, `3a` … `5b`, `classifier`.
    pub blocks: Vec<BlockTelemetry>,
    /// Pre-activations of some layers for a fixed batch of validation images, in forward order.
    pub activations: Vec<ActivationPercentiles>,
}

/// The parameters of one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockTelemetry {
    /// Name of the block.
    pub block: String,
    /// Euclidean norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Euclidean norm of the step's update of the weights divided by the norm of the weights, about 1e-3 in a healthy
    /// run. γ, β and biases do not count.
    pub update_ratio: f64,
    /// Values of the filters, or of the linear layer's matrix.
    pub weights: Histogram,
    /// Scales γ of the batch normalisations, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma: Option<Histogram>,
    /// Shifts β of the batch normalisations, or biases without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<Histogram>,
}

impl BlockTelemetry {
    /// The histograms it has, by the name of their field.
    pub fn histograms(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let all = [("weights", Some(&self.weights)), ("gamma", self.gamma.as_ref()), ("beta", self.beta.as_ref())];
        let all = all.into_iter();
        all.filter_map(|(name, histogram)| Some((name, histogram?)))
    }
}

/// Counts of values in equally wide bins from `min` to `max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Smallest value; left edge of the first bin.
    pub min: f32,
    /// Largest value; right edge of the last bin.
    pub max: f32,
    /// Sum of the values.
    pub sum: f64,
    /// Sum of their squares.
    pub sum_squares: f64,
    /// Number of values in each bin; a value on an inner edge belongs to the bin on its right.
    pub counts: Vec<u64>,
}

/// Percentiles of one layer's pre-activations, the inputs of its non-linearity (the paper's Figure 1 b and c).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivationPercentiles {
    /// Name of the layer: `stem.conv1`, `3a.conv_1x1` …
    pub layer: String,
    /// 15th percentile.
    pub p15: f32,
    /// Median.
    pub p50: f32,
    /// 85th percentile.
    pub p85: f32,
}

/// The machine and this process at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemSample {
    /// Utilisation of all processor cores, 0 to 100 %.
    pub cpu_percent: f32,
    /// Processor use of this process, 100 % a core.
    pub process_cpu_percent: f32,
    /// Memory of this process in bytes.
    pub process_bytes: u64,
    /// Memory available to new processes, in bytes.
    pub available_bytes: u64,
    /// Memory of the machine, in bytes.
    pub total_bytes: u64,
    /// GPUs with a driver that reports their use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuSample>,
}

/// One GPU at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuSample {
    /// The driver's name for it.
    pub name: String,
    /// Share of the time in which it was busy, 0 to 100 %.
    pub percent: f32,
    /// Memory in use, in bytes.
    pub used_bytes: u64,
    /// Memory of the GPU, in bytes.
    pub total_bytes: u64,
}

impl Histogram {
    /// Edges of the bins, one more than there are bins.
    #[must_use]
    pub fn edges(&self) -> Vec<f32> {
        let bins = self.counts.len();
        let (min, max) = (f64::from(self.min), f64::from(self.max));
        let edge = |bin: usize| (min + (max - min) * bin as f64 / bins.max(1) as f64) as f32;
        (0..=bins).map(edge).collect()
    }
}
