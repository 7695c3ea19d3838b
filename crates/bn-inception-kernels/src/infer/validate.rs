//! Checks of a network's connections, lengths, channel counts and sizes.

use super::network::{Conv, Layer, Network, Operation};
use crate::plan::error::NetworkError;
use crate::plan::window::{check_convolution, check_window, windows};

/// The size of a feature map as a function of the image's. A layer of stride 1 keeps it; what a layer of stride 2 makes
/// of it depends on its parity only, so one even and one odd size stand for all.
#[derive(Clone, Copy, PartialEq)]
struct Size {
    /// Position of the halved size in the list of all sizes.
    of: usize,
    /// Number of rows that 8 and 9 rows of it become.
    rows: [usize; 2],
}

/// Channels of a layer's output, and the position of its [`Size`] in the list of all sizes.
struct Map {
    channels: usize,
    size: usize,
}

impl Network {
    /// Checks connections, lengths, channel counts, strides, paddings and the sizes of concatenated maps.
    ///
    /// # Errors
    /// [`NetworkError::Layer`] or [`NetworkError::Length`], naming the first layer that does not fit.
    pub fn validate(&self) -> Result<(), NetworkError> {
        check_connections(&self.layers)?;
        let image = Size { of: 0, rows: [8, 9] };
        let mut sizes = vec![image];
        let mut maps: Vec<Map> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            // The images have three channels and size number 0.
            let input = layer.inputs.first().map(|&input| &maps[input]);
            let (channels, size) = input.map_or((3, 0), |map| (map.channels, map.size));
            let map = match &layer.operation {
                Operation::Conv(conv) => {
                    conv.check(&layer.name, channels, layer.inputs.is_empty())?;
                    Map { channels: conv.out_channels, size: strided(layer, size, &mut sizes) }
                }
                &Operation::MaxPool { stride, padding } => {
                    check_window(&layer.name, 3, stride, padding)?;
                    Map { channels, size: strided(layer, size, &mut sizes) }
                }
                Operation::AveragePool { .. } => Map { channels, size },
                Operation::Concat => {
                    let expected = sizes[size];
                    for &input in &layer.inputs {
                        let name = &self.layers[input].name;
                        let found = sizes[maps[input].size];
                        let rows = "height of the output (8 or 9 rows in)";
                        NetworkError::require(name, rows, expected.rows[0], found.rows[0])?;
                        NetworkError::require(name, rows, expected.rows[1], found.rows[1])?;
                        let of = "number of the size that it halves";
                        NetworkError::require(name, of, expected.of, found.of)?;
                    }
                    let channels = layer.inputs.iter().map(|&input| maps[input].channels);
                    Map { channels: channels.fold(0, usize::saturating_add), size }
                }
                Operation::Classifier(linear) => {
                    let expected = channels.saturating_mul(linear.bias.len());
                    let found = linear.weight.len();
                    if found == 0 {
                        let (layer, what) = (layer.name.clone(), "weight");
                        return Err(NetworkError::Length { layer, what, expected, found });
                    }
                    NetworkError::length(&layer.name, "weight", expected, found)?;
                    Map { channels, size }
                }
            };
            maps.push(map);
        }
        Ok(())
    }
}

/// Checks the positions of the first and the last layer, and which layers read which.
pub(super) fn check_connections(layers: &[Layer]) -> Result<(), NetworkError> {
    let Some(last) = layers.len().checked_sub(1) else {
        return NetworkError::require("network", "number of layers", 1, 0);
    };
    let mut readers = vec![0; layers.len()];
    for (i, layer) in layers.iter().enumerate() {
        let is = |what, expected, found| NetworkError::require(&layer.name, what, expected, found);
        let concat = layer.operation == Operation::Concat;
        if !(concat && i > 0 && !layer.inputs.is_empty()) {
            is("number of inputs", usize::from(i > 0), layer.inputs.len())?;
        }
        for &input in &layer.inputs {
            if input >= i {
                is("position of an input", i - 1, input)?;
            }
            readers[input] += 1;
        }
    }
    for (i, layer) in layers.iter().enumerate() {
        let is = |what, expected, found| NetworkError::require(&layer.name, what, expected, found);
        let conv = matches!(layer.operation, Operation::Conv(_));
        is("number of convolutions in the first place", 1, usize::from(conv || i > 0))?;
        if matches!(layer.operation, Operation::Classifier(_)) {
            is("position of the classifier", last, i)?;
        }
        if i < last {
            is("number of layers that read it", readers[i].max(1), readers[i])?;
        }
        match layer.operation {
            Operation::AveragePool { .. } => {
                is("number of layers that read it", 1, readers[i])?;
                let pointwise = |reader: &Layer| match &reader.operation {
                    Operation::Conv(conv) => conv.kernel == 1 && reader.inputs.contains(&i),
                    _ => false,
                };
                let count = layers.iter().filter(|reader| pointwise(reader)).count();
                is("number of 1x1 convolutions that read it", 1, count)?;
            }
            Operation::Concat => {
                for &input in &layer.inputs {
                    let Layer { name, operation, .. } = &layers[input];
                    let allowed = matches!(operation, Operation::Conv(_) | Operation::MaxPool { .. });
                    let what = "number of convolutions or max pools in a concatenation";
                    NetworkError::require(name, what, 1, usize::from(allowed))?;
                    NetworkError::require(name, "number of layers that read it", 1, readers[input])?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Number of the size of the output of a convolution or max pool, whose input has size number `size`.
fn strided(layer: &Layer, size: usize, sizes: &mut Vec<Size>) -> usize {
    let Some((kernel, 2, padding)) = layer.operation.window() else {
        return size;
    };
    let rows = [8, 9].map(|rows| windows(rows, kernel, 2, padding.of(rows)).unwrap_or(0));
    let halved = Size { of: size, rows };
    sizes.iter().position(|&s| s == halved).unwrap_or_else(|| {
        sizes.push(halved);
        sizes.len() - 1
    })
}

impl Conv {
    /// Checks the convolution in a place with `in_channels` channels.
    fn check(&self, layer: &str, in_channels: usize, first: bool) -> Result<(), NetworkError> {
        let is = |what, expected, found| NetworkError::require(layer, what, expected, found);
        is("in_channels", in_channels, self.in_channels)?;
        check_convolution(layer, first, self.kernel, self.stride, self.padding)?;
        if self.out_channels == 0 {
            is("out_channels", 1, 0)?;
        }
        let filter = in_channels.saturating_mul(self.kernel * self.kernel);
        let weight = self.out_channels.saturating_mul(filter);
        NetworkError::length(layer, "weight", weight, self.weight.len())?;
        NetworkError::length(layer, "bias", self.out_channels, self.bias.len())
    }
}
