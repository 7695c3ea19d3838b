//! Numbers of a call: parameters, gradients, statistics.

use crate::plan::error::NetworkError;

use super::network::{Conv, Network};

/// Parameters of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// Filters, `[out_channels, in_channels, kernel, kernel]`.
    pub weight: &'a [f32],
    /// Scale of each output channel (γ), `[out_channels]`; 1 if absent.
    pub scale: Option<&'a [f32]>,
    /// Shift of each output channel (β, or a bias), `[out_channels]`; 0 if absent.
    pub shift: Option<&'a [f32]>,
    /// True to normalise with the statistics of the batch before scale and shift.
    pub normalize: bool,
}

/// Mean and biased variance of a batch, of the convolution's output without bias, `[out_channels]` each.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Biased variance of each channel.
    pub variance: Vec<f32>,
    /// Number of values of a channel.
    pub count: usize,
}

/// Gradients of the parameters of a convolution, with their shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// Gradient of the filters.
    pub weight: Vec<f32>,
    /// Gradient of the scale.
    pub scale: Vec<f32>,
    /// Gradient of the shift.
    pub shift: Vec<f32>,
}

/// Gradients that a forward pass prepares for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GradientsOf {
    /// None: the pass keeps nothing.
    Nothing,
    /// The parameters.
    Parameters,
    /// The parameters and the input. Where the input is images: the parameters and the output of their convolution
    /// before normalisation, from which any convolution library has the rest.
    ParametersAndInput,
}

/// Buffers of one convolution; null where there is none.
#[derive(Clone, Copy)]
pub(super) struct ConvBuffers {
    pub(super) weight: *const f32,
    pub(super) weight_len: usize,
    pub(super) scale: *const f32,
    pub(super) shift: *const f32,
    pub(super) normalize: bool,
    pub(super) mean: *mut f32,
    pub(super) variance: *mut f32,
    pub(super) d_weight: *mut f32,
    pub(super) d_scale: *mut f32,
    pub(super) d_shift: *mut f32,
}

/// Buffers of a call.
///
/// # Safety contract of a step
/// All pointers are null, or valid for the extents in the network for as long as the call runs. A task writes only its
/// own elements of outputs, statistics and gradients, which no other task of its phase accesses.
pub(super) struct Buffers<'a> {
    pub(super) convs: &'a [ConvBuffers],
    /// Gradient of the network's output.
    pub(super) output_gradient: *const f32,
}

impl Buffers<'_> {
    /// Filters of a convolution.
    pub(super) fn weight(&self, conv: usize) -> &[f32] {
        let conv = &self.convs[conv];
        // SAFETY: by the contract; the filters are not written during a call.
        unsafe { std::slice::from_raw_parts(conv.weight, conv.weight_len) }
    }
}

impl ConvBuffers {
    /// Buffers that read `parameters` and write nothing.
    pub(super) fn reading(parameters: &Parameters<'_>) -> Self {
        let start = |values: Option<&[f32]>| values.map_or(std::ptr::null(), <[f32]>::as_ptr);
        Self {
            weight: parameters.weight.as_ptr(),
            weight_len: parameters.weight.len(),
            scale: start(parameters.scale),
            shift: start(parameters.shift),
            normalize: parameters.normalize,
            mean: std::ptr::null_mut(),
            variance: std::ptr::null_mut(),
            d_weight: std::ptr::null_mut(),
            d_scale: std::ptr::null_mut(),
            d_shift: std::ptr::null_mut(),
        }
    }
}

impl Statistics {
    /// Zeros for the channels of a convolution.
    pub(super) fn zeros(conv: &Conv, count: usize) -> Self {
        Self { mean: vec![0.0; conv.out_channels], variance: vec![0.0; conv.out_channels], count }
    }
}

impl Gradients {
    /// Zeros for the parameters of a convolution.
    pub(super) fn zeros(conv: &Conv) -> Self {
        let channels = conv.out_channels;
        Self { weight: vec![0.0; conv.weight_len()], scale: vec![0.0; channels], shift: vec![0.0; channels] }
    }
}

/// Checks the number of the parameters and the lengths of each.
pub(super) fn check_parameters(network: &Network, parameters: &[Parameters<'_>]) -> Result<(), NetworkError> {
    let length = NetworkError::length;
    length("network", "parameters", network.convs().count(), parameters.len())?;
    let conv = |layer: &super::network::Layer| matches!(layer.operation, super::network::Operation::Conv(_));
    let names = network.layers.iter().filter(|layer| conv(layer)).map(|layer| layer.name.as_str());
    for ((name, conv), parameters) in names.zip(network.convs()).zip(parameters) {
        length(name, "weight", conv.weight_len(), parameters.weight.len())?;
        for (what, vector) in [("scale", parameters.scale), ("shift", parameters.shift)] {
            length(name, what, conv.out_channels, vector.map_or(conv.out_channels, <[f32]>::len))?;
        }
    }
    Ok(())
}
