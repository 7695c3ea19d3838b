//! A readable summary of a network: output shape, parameters and multiply-adds of every block.

use std::fmt;

use crate::config::BnInceptionConfig;
use crate::layers;

/// One row of a [`ModelSummary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// Name of the block: `stem`, `3a` … `5b`, `classifier`.
    pub name: String,
    /// Channels, height and width of the block's output for one image.
    pub output: [usize; 3],
    /// Learned parameters (running statistics are not learned).
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
}

/// Shapes, parameters and multiply-adds of a network; [`fmt::Display`] prints them as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSummary {
    /// Channels of the input.
    pub input_channels: usize,
    /// Height and width of the input in pixels.
    pub input_size: usize,
    /// One row per block, in forward order.
    pub rows: Vec<SummaryRow>,
}

impl BnInceptionConfig {
    /// Shapes, parameters and multiply-adds of every block for square images of `input_size` pixels.
    pub fn summary(&self, input_size: usize) -> ModelSummary {
        let layers = self.layers();
        let sizes = layers::sizes(&layers, input_size);
        let mut rows: Vec<SummaryRow> = Vec::with_capacity(12);
        for (layer, size) in layers.iter().zip(&sizes) {
            if rows.last().is_none_or(|row| row.name != layer.block) {
                rows.push(SummaryRow { name: layer.block.to_owned(), output: [0; 3], parameters: 0, multiply_adds: 0 });
            }
            if let Some(row) = rows.last_mut() {
                row.output = [layer.channels, *size, *size];
                row.multiply_adds += layer.multiply_adds(layers::input_size(layer, &sizes, input_size));
                row.parameters += layers::learned(layer.tensors(self.normalization));
            }
        }
        ModelSummary { input_channels: self.image_channels(), input_size, rows }
    }
}

impl ModelSummary {
    /// Learned parameters of the whole network.
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|row| row.parameters).sum()
    }

    /// Multiply-adds of the whole network for one image.
    pub fn multiply_adds(&self) -> u64 {
        self.rows.iter().map(|row| row.multiply_adds).sum()
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (channels, size) = (self.input_channels, self.input_size);
        writeln!(f, "BN-Inception, input {channels}x{size}x{size}")?;
        writeln!(f, "{:<11} {:>14} {:>12} {:>15}", "block", "output", "parameters", "multiply-adds")?;
        for row in &self.rows {
            let [c, h, w] = row.output;
            let output = format!("{c}x{h}x{w}");
            let (parameters, macs) = (row.parameters, millions(row.multiply_adds));
            writeln!(f, "{:<11} {output:>14} {parameters:>12} {macs:>15}", row.name)?;
        }
        let (parameters, macs) = (self.parameters(), millions(self.multiply_adds()));
        write!(f, "{:<11} {:>14} {parameters:>12} {macs:>15}", "total", "")
    }
}

fn millions(count: u64) -> String {
    format!("{:.2} M", count as f64 / 1e6)
}
