//! A run of layers as one node of the autodiff graph, on the CPU backends.

use std::sync::{Arc, Mutex, PoisonError};

use bn_inception_kernels::train::{Forward, GradientsOf, Parameters, Statistics, Tape, Trainer};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor,
    DispatchTensorKind, ExtensionType, TensorMetadata, backend_extension,
};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Shape, Slice, Tensor};

use super::host::Host;
use super::parameters::ConvParameters;

/// Maximum number of inputs of a node, the map and all parameters: a const generic of Burn's. The networks here have
/// fewer.
const INPUTS: usize = 256;

/// Parameters that a convolution has besides its filters.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    scale: bool,
    shift: bool,
    normalize: bool,
}

/// A call of a segment.
#[derive(Debug, Clone)]
pub(crate) struct SegmentCall {
    trainer: Arc<Trainer>,
    kinds: Arc<Vec<Kinds>>,
    /// Statistics of the batch for each convolution: a result.
    statistics: Arc<Mutex<Vec<Statistics>>>,
}

pub(super) fn segment<const D: usize>(
    x: Tensor<4>,
    parameters: Vec<ConvParameters>,
    trainer: &Arc<Trainer>,
) -> (Tensor<D>, Vec<Statistics>) {
    let mut tensors = Vec::with_capacity(3 * parameters.len());
    let mut kinds = Vec::with_capacity(parameters.len());
    for ConvParameters { filters, scale, shift, normalize } in parameters {
        kinds.push(Kinds { scale: scale.is_some(), shift: shift.is_some(), normalize });
        tensors.push(filters.into_dispatch());
        tensors.extend(scale.into_iter().chain(shift).map(Tensor::into_dispatch));
    }
    let call = SegmentCall { trainer: trainer.clone(), kinds: Arc::new(kinds), statistics: Arc::new(Mutex::default()) };
    let y = <Dispatch as SegmentOp>::cnn_segment(x.into_dispatch(), Tensors(tensors), call.clone());
    let statistics = std::mem::take(&mut *call.statistics.lock().unwrap_or_else(PoisonError::into_inner));
    (Tensor::from_dispatch(y), statistics)
}

/// A segment on backend primitives, differentiable through `Autodiff`.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub(crate) trait SegmentOp: Backend {
    fn cnn_segment(
        x: FloatTensor<Self>,
        #[extension_type] parameters: Tensors<Self>,
        call: SegmentCall,
    ) -> FloatTensor<Self>;
}

/// Tensors of any number and rank.
pub(crate) struct Tensors<B: Backend>(Vec<FloatTensor<B>>);

impl<B: Backend> ExtensionType<B> for Tensors<B> {
    type Target = Tensors<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Tensors<Dispatch>
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        let wrap = |tensor| DispatchTensor { kind: map_kind(BackendTensor::Float(tensor)), autodiff };
        Tensors(self.0.into_iter().map(wrap).collect())
    }

    fn map_from_dispatch<F>(target: Tensors<Dispatch>, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        Self(target.0.into_iter().map(|tensor| unwrap_kind(tensor).float()).collect())
    }

    fn routing_tensor(target: &Tensors<Dispatch>) -> Option<&DispatchTensor> {
        target.0.first()
    }

    fn routing_float_tensor(target: &Tensors<Dispatch>) -> Option<&DispatchTensor> {
        target.0.first()
    }

    fn autodiff_context(target: &Tensors<Dispatch>) -> DispatchAutodiffContext {
        target.0.iter().fold(DispatchAutodiffContext::Disabled, |context, tensor| context.merge(tensor.autodiff))
    }
}

#[cfg(feature = "flex")]
impl SegmentOp for burn::backend::Flex {
    fn cnn_segment(x: FloatTensor<Self>, parameters: Tensors<Self>, call: SegmentCall) -> FloatTensor<Self> {
        forward::<Self>(x, parameters.0, &call, GradientsOf::Nothing).0
    }
}

#[cfg(feature = "ndarray")]
impl SegmentOp for burn::backend::NdArray {
    fn cnn_segment(x: FloatTensor<Self>, parameters: Tensors<Self>, call: SegmentCall) -> FloatTensor<Self> {
        forward::<Self>(x, parameters.0, &call, GradientsOf::Nothing).0
    }
}

/// The parameters of a call on the host.
struct HostParameters<B: Host>(Vec<B::Dense>);

impl<B: Host> HostParameters<B> {
    fn new(parameters: Vec<FloatTensor<B>>) -> Self {
        Self(parameters.into_iter().map(B::dense).collect())
    }

    /// The parameters of each convolution.
    fn each(&self, call: &SegmentCall) -> Vec<Parameters<'_>> {
        let mut values = self.0.iter().map(B::values);
        let mut next = || values.next().unwrap_or_default();
        let parameters = call.kinds.iter().map(|kind| Parameters {
            weight: next(),
            scale: kind.scale.then(&mut next),
            shift: kind.shift.then(&mut next),
            normalize: kind.normalize,
        });
        parameters.collect()
    }
}

fn forward<B: Host>(
    x: FloatTensor<B>,
    parameters: Vec<FloatTensor<B>>,
    call: &SegmentCall,
    gradients: GradientsOf,
) -> (FloatTensor<B>, Option<Tape>) {
    let device = x.device();
    let [batch, channels, height, width] = x.shape().dims();
    let x = B::dense(x);
    let parameters = HostParameters::<B>::new(parameters);
    let result = call.trainer.forward(B::values(&x), [batch, height, width], &parameters.each(call), gradients);
    let Forward { output, shape, statistics, tape } =
        result.unwrap_or_else(|error| panic!("a map of {channels} channels, {height} by {width}: {error}"));
    *call.statistics.lock().unwrap_or_else(PoisonError::into_inner) = statistics;
    (B::tensor(output, Shape::from(shape), &device), tape)
}

#[derive(Debug)]
struct SegmentBackward;

/// Needs of the backward pass.
#[derive(Debug, Clone)]
struct State<T> {
    call: SegmentCall,
    x: Shape,
    parameters: Vec<T>,
    /// Taken by the backward pass, which runs once.
    tape: Arc<Mutex<Option<Tape>>>,
}

impl<B: Host> Backward<B, INPUTS> for SegmentBackward {
    type State = State<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, INPUTS>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let output_gradient = grads.consume::<B>(&ops.node);
        let device = output_gradient.device();
        let State { call, x, parameters, tape } = ops.state;
        let tape = tape.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tape = tape.expect("a node's backward pass runs once");
        let output_gradient = B::dense(output_gradient);
        let filters = parameters.first().cloned();
        let shapes: Vec<Shape> = parameters.iter().map(TensorMetadata::shape).collect();
        let parameters = HostParameters::<B>::new(parameters);
        let (gradients, input_gradient) = call
            .trainer
            .backward(tape, &parameters.each(&call), B::values(&output_gradient))
            .unwrap_or_else(|error| panic!("{error}"));
        let mut of_parameters = Vec::with_capacity(shapes.len());
        for (kind, gradients) in call.kinds.iter().zip(gradients) {
            of_parameters.push(gradients.weight);
            of_parameters.extend(kind.scale.then_some(gradients.scale));
            of_parameters.extend(kind.shift.then_some(gradients.shift));
        }
        let [of_x, rest @ ..] = &ops.parents;
        for ((node, gradient), shape) in rest.iter().zip(of_parameters).zip(shapes) {
            if let Some(node) = node {
                grads.register::<B>(node.id, B::tensor(gradient, shape, &device));
            }
        }
        if let (Some(node), Some(gradient)) = (of_x, input_gradient) {
            let gradient = match filters.filter(|_| call.trainer.images()) {
                None => B::tensor(gradient, x, &device),
                Some(filters) => images_gradient::<B>(&call.trainer, x, filters, gradient),
            };
            grads.register::<B>(node.id, gradient);
        }
    }
}

/// Gradient of images from that of their convolution's output, by the backend's own operation.
fn images_gradient<B: Host>(trainer: &Trainer, x: Shape, filters: FloatTensor<B>, dz: Vec<f32>) -> FloatTensor<B> {
    let [batch, channels, height, width] = x.dims();
    let conv = trainer.network().convs().next().expect("images are read by a convolution");
    let (kernel, stride) = (conv.kernel, conv.stride);
    // The backend may know symmetric padding only, so the padding becomes part of the input.
    let [rows, columns] = [height, width].map(|size| conv.padding.of(size));
    let padded = [height + rows.0 + rows.1, width + columns.0 + columns.1];
    let out = padded.map(|size| (size - kernel) / stride + 1);
    let device = filters.device();
    let dz = B::tensor(dz, Shape::new([batch, conv.out_channels, out[0], out[1]]), &device);
    let input = vec![0.0; batch * channels * padded[0] * padded[1]];
    let input = B::tensor(input, Shape::new([batch, channels, padded[0], padded[1]]), &device);
    let options = ConvOptions::new([stride; 2], [0, 0], [1, 1], 1);
    let gradient = B::conv2d_x_backward(input, filters, dz, options);
    let inside = |before: usize, size: usize| Slice::from(before..before + size);
    B::float_slice(gradient, &[Slice::from(..), Slice::from(..), inside(rows.0, height), inside(columns.0, width)])
}

impl<B: Host + SegmentOp, C: CheckpointStrategy> SegmentOp for Autodiff<B, C> {
    fn cnn_segment(x: FloatTensor<Self>, parameters: Tensors<Self>, call: SegmentCall) -> FloatTensor<Self> {
        let parameters = parameters.0;
        let of_input = x.is_tracked();
        // A node has a fixed number of inputs: constants take the place of those that this one does not have.
        let constant = Self::from_inner(x.primitive().clone());
        let mut guards: Vec<NodeGuard> = std::iter::once(&x).chain(&parameters).map(|input| input.node()).collect();
        guards.resize_with(INPUTS.max(guards.len()), || constant.node());
        let guards: [NodeGuard; INPUTS] =
            guards.try_into().unwrap_or_else(|_| panic!("a segment with more than {INPUTS} inputs"));
        let prepared = SegmentBackward.prepare::<C>(guards).compute_bound().stateful();
        let x = x.into_primitive();
        let parameters: Vec<FloatTensor<B>> = parameters.into_iter().map(|p| p.into_primitive()).collect();
        match prepared {
            OpsKind::Tracked(prep) => {
                let wanted = if of_input { GradientsOf::ParametersAndInput } else { GradientsOf::Parameters };
                let shape = x.shape();
                let (y, tape) = forward::<B>(x, parameters.clone(), &call, wanted);
                let state = State { call, x: shape, parameters, tape: Arc::new(Mutex::new(tape)) };
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::cnn_segment(x, Tensors(parameters), call)),
        }
    }
}
