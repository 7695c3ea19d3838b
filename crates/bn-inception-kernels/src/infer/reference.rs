//! Reference implementation of the network in `f64`, for the tests of the engine.

use super::network::{Block, Conv, Network, NetworkError, Pool, Stem, windows};

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
        padding: [(usize, usize); 2],
        f: impl Fn(usize, isize, isize) -> f64,
    ) -> Option<Self> {
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
        Some(Self {
            channels,
            size,
            values,
        })
    }

    fn conv(&self, conv: &Conv, stride: usize, padding: [(usize, usize); 2]) -> Option<Self> {
        let k = conv.kernel;
        self.slide(conv.out_channels, k, stride, padding, |o, top, left| {
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

    fn max(&self, stride: usize, padding: [(usize, usize); 2]) -> Option<Self> {
        self.slide(self.channels, 3, stride, padding, |c, top, left| {
            let pixels = (0..9).filter_map(|t| self.at(c, top + t / 3, left + t % 3));
            pixels.fold(
                f64::NEG_INFINITY,
                |a, b| {
                    if a > b || a.is_nan() { a } else { b }
                },
            )
        })
    }

    fn average(&self, include_padding: bool) -> Option<Self> {
        self.slide(self.channels, 3, 1, [(1, 1); 2], |c, top, left| {
            let pixels: Vec<f64> = (0..9)
                .filter_map(|t| self.at(c, top + t / 3, left + t % 3))
                .collect();
            let count = if include_padding { 9 } else { pixels.len() };
            pixels.iter().sum::<f64>() / count as f64
        })
    }

    fn append(&mut self, other: Self) {
        self.channels += other.channels;
        self.size = other.size;
        self.values.extend(other.values);
    }
}

/// Logits `[batch, classes]` of `images`, `[batch, 3, height, width]`, accumulated in `f64`.
///
/// # Errors
/// The errors of [`Engine::forward`](super::Engine::forward).
pub fn forward(
    network: &Network,
    images: &[f32],
    [batch, height, width]: [usize; 3],
) -> Result<Vec<f64>, NetworkError> {
    network.validate()?;
    let pixels = 3 * height * width;
    if images.len() != batch * pixels {
        return Err(NetworkError::Length {
            layer: "forward".to_owned(),
            what: "images",
            expected: batch * pixels,
            found: images.len(),
        });
    }
    let mut logits = Vec::with_capacity(batch * network.classes());
    for image in images.chunks(pixels.max(1)) {
        let map = Tensor {
            channels: 3,
            size: [height, width],
            values: image.iter().map(|&v| f64::from(v)).collect(),
        };
        let small = |layer: &str| NetworkError::TooSmall {
            layer: layer.to_owned(),
            height,
            width,
        };
        let mut map = stem(&network.stem, map).ok_or_else(|| small("stem"))?;
        for b in &network.blocks {
            map = block(network, b, map).ok_or_else(|| small(&b.name))?;
        }
        let plane = map.size[0] * map.size[1];
        let means: Vec<f64> = map
            .values
            .chunks(plane)
            .map(|p| p.iter().sum::<f64>() / plane as f64)
            .collect();
        for (row, &bias) in network
            .classifier
            .weight
            .chunks(means.len())
            .zip(&network.classifier.bias)
        {
            let sum: f64 = row.iter().zip(&means).map(|(&w, m)| f64::from(w) * m).sum();
            logits.push(sum + f64::from(bias));
        }
    }
    Ok(logits)
}

fn stem(stem: &Stem, x: Tensor) -> Option<Tensor> {
    match stem {
        Stem::Small(conv) => x.conv(conv, 1, [(1, 1); 2]),
        Stem::ImageNet {
            conv1,
            padding,
            pool,
            reduce,
            conv2,
        } => {
            let x = x.conv(conv1, 2, x.size.map(|s| padding.of(s)))?;
            let x = x.max(2, x.size.map(|s| pool.of(s)))?;
            let x = x.conv(reduce, 1, [(0, 0); 2])?;
            let x = x.conv(conv2, 1, [(1, 1); 2])?;
            x.max(2, x.size.map(|s| pool.of(s)))
        }
    }
}

fn block(network: &Network, block: &Block, x: Tensor) -> Option<Tensor> {
    let strided = network.conv_padding(block.stride, x.size);
    let pooled = network.pool_padding(block.stride, x.size);
    let mut out = Tensor {
        channels: 0,
        size: x.size,
        values: Vec::new(),
    };
    let pointwise = |x: &Tensor, conv: &Conv| x.conv(conv, 1, [(0, 0); 2]);
    if let Some(conv) = &block.conv_1x1 {
        out.append(pointwise(&x, conv)?);
    }
    out.append(match &block.reduce_3x3 {
        Some(reduce) => pointwise(&x, reduce)?.conv(&block.conv_3x3, block.stride, strided)?,
        None => x.conv(&block.conv_3x3, block.stride, strided)?,
    });
    if let Some([first, second]) = &block.conv_double {
        let middle = match &block.reduce_double {
            Some(reduce) => pointwise(&x, reduce)?.conv(first, 1, [(1, 1); 2])?,
            None => x.conv(first, 1, [(1, 1); 2])?,
        };
        out.append(middle.conv(second, block.stride, strided)?);
    }
    match &block.pool {
        Pool::Absent => {}
        Pool::MaxPassThrough => out.append(x.max(block.stride, pooled)?),
        Pool::Max(conv) => out.append(pointwise(&x.max(block.stride, pooled)?, conv)?),
        Pool::Average(conv) => out.append(pointwise(
            &x.average(network.average_includes_padding)?,
            conv,
        )?),
    }
    Some(out)
}
