//! The end of a call: the layers that it computes, and the shape of its output.

use super::network::{Layer, Network, Operation};
use super::validate::check_connections;
use crate::plan::error::NetworkError;
use crate::plan::window::output_size;

/// The end of a call: a layer of the network, by its position. The layers up to it must be a network of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The layer's output: a feature map, `[N, C, H, W]`, or the logits of the classifier, `[N, classes]`.
    Layer(usize),
    /// The means over all pixels of the layer's output, a feature map: `[N, C]`.
    Mean(usize),
}

/// The layers of a network up to the end of a call.
#[derive(Clone, Copy)]
pub(crate) struct Prefix<'a> {
    pub(crate) layers: &'a [Layer],
    /// True if the output is the means of that of the last layer.
    pub(crate) mean: bool,
}

impl Network {
    /// The layers of a valid network up to `end`.
    ///
    /// # Errors
    /// [`NetworkError::Layer`] if they are not a valid network.
    pub(crate) fn prefix(&self, end: End) -> Result<Prefix<'_>, NetworkError> {
        let (End::Layer(last) | End::Mean(last)) = end;
        let all = self.layers.len() - 1;
        if last != all {
            NetworkError::require("network", "position of the last layer", last.min(all), last)?;
            check_connections(&self.layers[..=last])?;
        }
        let prefix = Prefix { layers: &self.layers[..=last], mean: matches!(end, End::Mean(_)) };
        if prefix.mean && prefix.classes().is_some() {
            NetworkError::require(&self.layers[last].name, "number of dimensions of the output", 4, 2)?;
        }
        Ok(prefix)
    }
}

impl Prefix<'_> {
    /// Number of classes, if the last layer is a classifier.
    pub(crate) fn classes(&self) -> Option<usize> {
        match self.layers.last().map(|layer| &layer.operation) {
            Some(Operation::Classifier(linear)) => Some(linear.bias.len()),
            _ => None,
        }
    }

    /// Height and width of each layer's output (the classifier's input) for an image.
    ///
    /// # Errors
    /// [`NetworkError::TooSmall`], naming the first layer whose window does not fit.
    pub(crate) fn sizes(&self, image: [usize; 2]) -> Result<Vec<[usize; 2]>, NetworkError> {
        let mut sizes: Vec<[usize; 2]> = Vec::with_capacity(self.layers.len());
        for layer in self.layers {
            let size = layer.inputs.first().map_or(image, |&input| sizes[input]);
            sizes.push(output_size(&layer.name, size, layer.operation.window(), image)?);
        }
        Ok(sizes)
    }

    /// Number of channels of the last layer's output.
    fn channels(&self) -> usize {
        let mut channels: Vec<usize> = Vec::with_capacity(self.layers.len());
        for layer in self.layers {
            channels.push(match &layer.operation {
                Operation::Conv(conv) => conv.out_channels,
                Operation::Classifier(linear) => linear.bias.len(),
                Operation::MaxPool { .. } | Operation::AveragePool { .. } | Operation::Concat => {
                    layer.inputs.iter().fold(0, |sum, &input| sum.saturating_add(channels[input]))
                }
            });
        }
        channels.last().map_or(0, |&channels| channels)
    }

    /// Dimensions of the output for a batch of images.
    ///
    /// # Errors
    /// [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`].
    pub(crate) fn output_shape(&self, [batch, height, width]: [usize; 3]) -> Result<Vec<usize>, NetworkError> {
        let too_large = || NetworkError::TooLarge { batch, height, width };
        let product = |extents: &[usize]| extents.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        // Sizes and paddings add up to no overflow below this.
        product(&[3, height, width]).filter(|&n| n < isize::MAX as usize >> 20).ok_or_else(too_large)?;
        if height == 0 || width == 0 {
            return Err(NetworkError::TooSmall { layer: self.layers[0].name.clone(), height, width });
        }
        let sizes = self.sizes([height, width])?;
        let mut shape = vec![batch, self.channels()];
        if !self.mean && self.classes().is_none() {
            shape.extend(sizes[sizes.len() - 1]);
        }
        product(&shape).filter(|&n| n < isize::MAX as usize / 4).ok_or_else(too_large)?;
        Ok(shape)
    }
}
