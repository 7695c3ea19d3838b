//! Reference implementation of the network in `f64`, for the tests of the engine.

use super::network::{Conv, Network, Operation};
use super::prefix::End;
use crate::plan::error::NetworkError;
use crate::plan::window::{Placement, windows};

/// A tensor of one image, `[channels, height, width]`.
struct Tensor {
    channels: usize,
    size: [usize; 2],
    values: Vec<f64>,
}

impl Tensor {
    /// Value of a pixel, `None` in the padding.
    fn at(&self, c: usize, y: isize, x: isize) -> Option<f64> {
        let [height, width] = self.size;
        let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
        (y < height && x < width).then(|| self.values[(c * height + y) * width + x])
    }

    /// Tensor of `channels` channels with the value `f(c, top, left)` for the window of channel `c` that starts at
    /// `(top, left)`.
    fn slide(
        &self,
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: Placement,
        f: impl Fn(usize, isize, isize) -> f64,
    ) -> Option<Self> {
        let padding = self.size.map(|size| padding.of(size));
        let mut size = [0; 2];
        for axis in 0..2 {
            size[axis] = windows(self.size[axis], kernel, stride, padding[axis])?;
        }
        let mut values = Vec::with_capacity(channels * size[0] * size[1]);
        for c in 0..channels {
            for y in 0..size[0] {
                for x in 0..size[1] {
                    let top = (y * stride) as isize - padding[0].0 as isize;
                    let left = (x * stride) as isize - padding[1].0 as isize;
                    values.push(f(c, top, left));
                }
            }
        }
        Some(Self { channels, size, values })
    }

    fn conv(&self, conv: &Conv) -> Option<Self> {
        let (k, channels) = (conv.kernel, conv.out_channels);
        self.slide(channels, k, conv.stride, conv.padding, |o, top, left| {
            let mut sum = f64::from(conv.bias[o]);
            for i in 0..conv.in_channels {
                for t in 0..k * k {
                    let (dy, dx) = ((t / k) as isize, (t % k) as isize);
                    if let Some(v) = self.at(i, top + dy, left + dx) {
                        sum += v * f64::from(conv.weight[(o * conv.in_channels + i) * k * k + t]);
                    }
                }
            }
            if sum.is_nan() { sum } else { sum.max(0.0) }
        })
    }

    fn max(&self, stride: usize, padding: Placement) -> Option<Self> {
        self.slide(self.channels, 3, stride, padding, |c, top, left| {
            let pixels = (0..9).filter_map(|t| self.at(c, top + t / 3, left + t % 3));
            pixels.fold(f64::NEG_INFINITY, |a, b| if a > b || a.is_nan() { a } else { b })
        })
    }

    fn average(&self, include_padding: bool) -> Option<Self> {
        self.slide(self.channels, 3, 1, Placement::both(1, 1), |c, top, left| {
            let pixels: Vec<f64> = (0..9).filter_map(|t| self.at(c, top + t / 3, left + t % 3)).collect();
            let count = if include_padding { 9 } else { pixels.len() };
            pixels.iter().sum::<f64>() / count as f64
        })
    }

    /// Mean of each channel.
    fn means(&self) -> Vec<f64> {
        let plane = self.size[0] * self.size[1];
        let planes = self.values.chunks(plane);
        planes.map(|p| p.iter().sum::<f64>() / plane as f64).collect()
    }
}

/// Output of the network for `images`, `[batch, 3, height, width]`, accumulated in `f64`.
///
/// # Errors
/// The errors of [`Engine::forward`](super::Engine::forward).
pub fn forward(network: &Network, images: &[f32], size: [usize; 3]) -> Result<Vec<f64>, NetworkError> {
    network.validate()?;
    forward_to(network, End::Layer(network.layers.len() - 1), images, size)
}

/// Output at `end` for `images`, `[batch, 3, height, width]`, accumulated in `f64`.
///
/// # Errors
/// The errors of [`Engine::forward_to`](super::Engine::forward_to).
pub fn forward_to(
    network: &Network,
    end: End,
    images: &[f32],
    [batch, height, width]: [usize; 3],
) -> Result<Vec<f64>, NetworkError> {
    network.validate()?;
    let prefix = network.prefix(end)?;
    let pixels = 3 * height * width;
    NetworkError::length("forward", "images", batch * pixels, images.len())?;
    let mut output = Vec::new();
    for image in images.chunks(pixels.max(1)) {
        let image =
            Tensor { channels: 3, size: [height, width], values: image.iter().map(|&v| f64::from(v)).collect() };
        // Output of each layer.
        let mut maps: Vec<Tensor> = Vec::with_capacity(prefix.layers.len());
        for layer in prefix.layers {
            let from = layer.inputs.first().map_or(&image, |&input| &maps[input]);
            let map = match &layer.operation {
                Operation::Conv(conv) => from.conv(conv),
                &Operation::MaxPool { stride, padding } => from.max(stride, padding),
                &Operation::AveragePool { includes_padding } => from.average(includes_padding),
                Operation::Concat => {
                    let inputs = || layer.inputs.iter().map(|&input| &maps[input]);
                    Some(Tensor {
                        channels: inputs().map(|map| map.channels).sum(),
                        size: from.size,
                        values: inputs().flat_map(|map| &map.values).copied().collect(),
                    })
                }
                Operation::Classifier(linear) => {
                    let means = from.means();
                    let rows = linear.weight.chunks(means.len()).zip(&linear.bias);
                    let logits = rows.map(|(row, &bias)| {
                        let sum: f64 = row.iter().zip(&means).map(|(&w, m)| f64::from(w) * m).sum();
                        sum + f64::from(bias)
                    });
                    Some(Tensor { channels: linear.bias.len(), size: [1, 1], values: logits.collect() })
                }
            };
            maps.push(map.ok_or_else(|| NetworkError::TooSmall { layer: layer.name.clone(), height, width })?);
        }
        let last = &maps[prefix.layers.len() - 1];
        output.extend(if prefix.mean { last.means() } else { last.values.clone() });
    }
    Ok(output)
}
