//! A readable summary of a model: output shape, parameters and multiply-adds of every block.

use std::fmt;

use crate::conv::ConvUnit;

/// The extent of an activation on its way through the network, and the work done so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) channels: usize,
    pub(crate) size: [usize; 2],
    pub(crate) multiply_adds: u64,
}

impl Extent {
    pub(crate) fn convolve(&mut self, unit: &ConvUnit) {
        self.multiply_adds += unit.multiply_adds(self.size);
        self.size = self.size.map(|size| unit.out_size(size));
        self.channels = unit.weight.lazy_shape()[0];
    }
}

/// One row of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// `stem`, `3a` … `5b`, `classifier`.
    pub name: String,
    /// Channels, height and width of the block's output for one image.
    pub output: [usize; 3],
    /// Learned parameters (running statistics are not learned).
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
}

/// Shapes, parameters and multiply-adds of a model; [`fmt::Display`] prints them as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Height and width of the input in pixels.
    pub input_size: usize,
    /// One row per block, in forward order.
    pub rows: Vec<SummaryRow>,
}

impl Summary {
    /// Learned parameters of the whole network.
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|row| row.parameters).sum()
    }

    /// Multiply-adds of the whole network for one image.
    pub fn multiply_adds(&self) -> u64 {
        self.rows.iter().map(|row| row.multiply_adds).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.input_size;
        writeln!(f, "BN-Inception, input 3x{size}x{size}")?;
        writeln!(
            f,
            "{:<11} {:>14} {:>12} {:>15}",
            "block", "output", "parameters", "multiply-adds"
        )?;
        for row in &self.rows {
            let [c, h, w] = row.output;
            let output = format!("{c}x{h}x{w}");
            let (parameters, macs) = (row.parameters, millions(row.multiply_adds));
            writeln!(
                f,
                "{:<11} {output:>14} {parameters:>12} {macs:>15}",
                row.name
            )?;
        }
        let (parameters, macs) = (self.parameters(), millions(self.multiply_adds()));
        write!(f, "{:<11} {:>14} {parameters:>12} {macs:>15}", "total", "")
    }
}

fn millions(count: u64) -> String {
    format!("{:.2} M", count as f64 / 1e6)
}
