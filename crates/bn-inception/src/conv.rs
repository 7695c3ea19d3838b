//! Convolution, normalisation and non-linearity as one unit, the only layer this network is made of.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, activation};

use crate::batch_norm::{BatchNorm, Statistics};
use crate::config::{Activation, BnInceptionConfig, Normalization};
use crate::layers::{Convolution, Layer};
use crate::ops::{self, ConvGeometry};
use crate::segment::{Parameters, Segment, Update};

/// Convolution → batch normalisation (if the network has it) → non-linearity.
#[derive(Module, Debug)]
pub struct ConvUnit {
    /// Filters, `[out_channels, in_channels / groups, k, k]`.
    pub weight: Param<Tensor<4>>,
    /// Bias, `[out_channels]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Normalisation of the convolution's output.
    pub norm: Option<BatchNorm>,
    #[module(skip)]
    convolution: Convolution,
    /// The unit for the CPU engine, with and without its non-linearity.
    #[module(skip)]
    segments: [Arc<Segment>; 2],
}

impl ConvUnit {
    /// The convolution called `name` among `layers`, with zero weights, to be drawn by [`BnInceptionConfig::init`];
    /// `None` if the network has no such layer.
    pub(crate) fn find(layers: &[Layer], name: &str, config: &BnInceptionConfig, device: &Device) -> Option<Self> {
        let position = layers.iter().position(|layer| layer.name == name)?;
        let convolution = *layers[position].convolution()?;
        let segment = Segment::new(config, layers, position..position + 1);
        let channels = convolution.out_channels;
        let norm = match config.normalization {
            Normalization::Batch { epsilon, momentum, scale } if convolution.norm => {
                Some(BatchNorm::new(channels, epsilon, momentum, scale, device))
            }
            _ => None,
        };
        let bias = || Param::from_tensor(Tensor::zeros([channels], device));
        Some(Self {
            weight: Initializer::Zeros.init(convolution.weight_shape(), device),
            bias: convolution.bias.then(bias),
            norm,
            convolution,
            segments: [segment.clone(), segment.without_activation()],
        })
    }

    /// Convolution, normalisation and non-linearity. Normalises with the batch's statistics on an autodiff device and
    /// with the running ones elsewhere.
    ///
    /// # Shapes
    /// `[N, in_channels, H, W]` → `[N, out_channels, H', W']`
    ///
    /// # Panics
    /// If `x` has another number of channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let statistics = Statistics::of(&x);
        self.apply(x, statistics)
    }

    /// [`Self::forward`] with the given statistics.
    pub(crate) fn apply(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        if let Some(y) = self.segments[0].run(&x, || vec![self.parameters(statistics)]) {
            return y;
        }
        match self.convolution.activation {
            None => self.transform(x, statistics, false),
            Some(Activation::Relu) => self.transform(x, statistics, true),
            Some(Activation::Sigmoid) => activation::sigmoid(self.transform(x, statistics, false)),
        }
    }

    /// Input of the non-linearity: the convolution's output, normalised if the network normalises.
    pub(crate) fn pre_activation(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        if let Some(y) = self.segments[1].run(&x, || vec![self.parameters(statistics)]) {
            return y;
        }
        self.transform(x, statistics, false)
    }

    /// The unit's parameters for a call of a [`Segment`].
    pub(crate) fn parameters(&self, statistics: Statistics) -> Parameters<'_> {
        let bias = self.bias.as_ref().map(Param::val);
        let (scale, shift, update) = match &self.norm {
            None => (None, bias, None),
            Some(norm) => match norm.batch_weight(statistics) {
                None => {
                    let (scale, shift) = norm.scale_shift(bias);
                    (Some(scale), Some(shift), None)
                }
                Some(weight) => {
                    let gamma = norm.gamma.as_ref().map(Param::val);
                    (gamma, Some(norm.beta.val()), Some(Update { norm, weight, bias }))
                }
            },
        };
        Parameters { filters: self.weight.val(), scale, shift, update }
    }

    fn transform(&self, x: Tensor<4>, statistics: Statistics, relu: bool) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let geometry = ConvGeometry {
            stride: self.convolution.stride,
            padding: [height, width].map(|size| self.convolution.padding(size)),
            groups: self.convolution.groups,
        };
        let z = ops::conv2d(x, self.weight.val(), geometry);
        let bias = self.bias.as_ref().map(Param::val);
        let z = match (&self.norm, bias) {
            (Some(norm), bias) => return norm.apply(z, bias, statistics, relu),
            (None, Some(bias)) => z + bias.reshape([1, -1, 1, 1]),
            (None, None) => z,
        };
        if relu { activation::relu(z) } else { z }
    }
}
