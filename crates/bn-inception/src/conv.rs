//! Convolution, normalisation and non-linearity as one unit, the only layer this network is made of.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, activation};

use crate::batch_norm::{BatchNorm, Statistics};
use crate::config::{Activation, BnInceptionConfig, Normalization, StridedPadding};
use crate::ops::{self, ConvGeometry};
use crate::padding::windows;

/// What a [`ConvUnit`] computes besides its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct UnitPlan {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) groups: usize,
    /// Followed by normalisation, if the network has one.
    pub(crate) normalized: bool,
    /// Followed by the non-linearity.
    pub(crate) activated: bool,
    /// Has a bias whatever the network's other convolutions have.
    pub(crate) biased: bool,
}

impl UnitPlan {
    /// An ordinary convolution: normalised, activated, stride 1.
    pub(crate) fn new(in_channels: usize, out_channels: usize, kernel: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel,
            stride: 1,
            groups: 1,
            normalized: true,
            activated: true,
            biased: false,
        }
    }

    pub(crate) fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// A new unit with zero weights; [`BnInceptionConfig::init`] draws them.
    pub(crate) fn init(self, config: &BnInceptionConfig, device: &Device) -> ConvUnit {
        let UnitPlan {
            in_channels,
            out_channels,
            kernel,
            groups,
            ..
        } = self;
        let norm = match config.normalization {
            Normalization::Batch {
                epsilon,
                momentum,
                scale,
            } if self.normalized => Some(BatchNorm::new(
                out_channels,
                epsilon,
                momentum,
                scale,
                device,
            )),
            _ => None,
        };
        // Without normalisation to provide the shift, the bias has to.
        let unnormalized = self.activated && norm.is_none();
        let biased = config.conv_bias && self.normalized || self.biased || unnormalized;
        let weight = [out_channels, in_channels / groups, kernel, kernel];
        ConvUnit {
            // Made when it is first used: a network whose shapes alone are asked for takes no memory.
            weight: Initializer::Zeros.init(weight, device),
            bias: biased.then(|| Param::from_tensor(Tensor::zeros([out_channels], device))),
            norm,
            plan: self,
            activation: config.activation,
            padding: config.strided_padding,
        }
    }
}

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
    plan: UnitPlan,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    padding: StridedPadding,
}

impl ConvUnit {
    /// `[N, in_channels, H, W]` → `[N, out_channels, H', W']`.
    pub(crate) fn forward(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        let activated = self.plan.activated;
        let y = self.transform(
            x,
            statistics,
            activated && self.activation == Activation::Relu,
        );
        match self.activation {
            Activation::Sigmoid if activated => activation::sigmoid(y),
            _ => y,
        }
    }

    /// What the non-linearity gets, for the same input: the convolution's output, normalised if the network
    /// normalises.
    pub(crate) fn pre_activation(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        self.transform(x, statistics, false)
    }

    fn transform(&self, x: Tensor<4>, statistics: Statistics, relu: bool) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let geometry = ConvGeometry {
            stride: self.plan.stride,
            padding: [self.pad(height), self.pad(width)],
            groups: self.plan.groups,
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

    fn pad(&self, size: usize) -> (usize, usize) {
        self.padding
            .of_conv(size, self.plan.kernel, self.plan.stride)
    }

    /// Height or width of the output for one of the input.
    pub(crate) fn out_size(&self, size: usize) -> usize {
        windows(size, self.plan.kernel, self.plan.stride, self.pad(size))
    }

    /// Multiply-adds for an input of `[height, width]` pixels.
    pub(crate) fn multiply_adds(&self, [height, width]: [usize; 2]) -> u64 {
        let UnitPlan {
            in_channels,
            out_channels,
            kernel,
            groups,
            ..
        } = self.plan;
        let per_pixel = out_channels * (in_channels / groups) * kernel * kernel;
        (per_pixel * self.out_size(height) * self.out_size(width)) as u64
    }
}
