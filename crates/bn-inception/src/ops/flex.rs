//! Flex: the operations as calls into `bn-inception-kernels`, with their backward passes.

use bn_inception_kernels::batch_norm::{self, BatchNormGradients, BatchNormParams};
use bn_inception_kernels::{BatchNormShape, Conv2dShape, conv};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, DispatchDevice, Flex, backend_extension,
};
use burn::tensor::{Bytes, DType, Shape, Tensor};

use super::ConvGeometry;

/// Whether the kernels can take this tensor: `f32` on Flex.
pub(super) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32
        && matches!(
            tensor.device().inner().as_dispatch(),
            DispatchDevice::Flex(_)
        )
}

pub(super) fn conv2d(x: Tensor<4>, weight: Tensor<4>, geometry: ConvGeometry) -> Tensor<4> {
    let y = <Dispatch as CnnOps>::cnn_conv2d(x.into_dispatch(), weight.into_dispatch(), geometry);
    Tensor::from_dispatch(y)
}

pub(super) fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    relu: bool,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let (y, mean, variance) = <Dispatch as CnnOps>::cnn_batch_norm_train(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        epsilon,
        relu,
    );
    let plain = |statistic| Tensor::<1>::from_dispatch(statistic).without_autodiff();
    (Tensor::from_dispatch(y), plain(mean), plain(variance))
}

pub(super) fn scale_shift(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    relu: bool,
) -> Tensor<4> {
    let y = <Dispatch as CnnInference>::cnn_scale_shift(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        relu,
    );
    Tensor::from_dispatch(y)
}

/// The operations on backend primitives; differentiable through `Autodiff<Flex>` below.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait CnnOps: Backend {
    fn cnn_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self>;
    fn cnn_batch_norm_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Inference only, so without an autodiff side.
#[backend_extension(Flex)]
pub(crate) trait CnnInference: Backend {
    fn cnn_scale_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self>;
}

/// A dense tensor and its shape, for reading.
struct Dense(FlexTensor);

impl Dense {
    fn new(tensor: FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    fn values(&self) -> &[f32] {
        self.0
            .as_slice()
            .expect("`serves` admits f32 only, and the tensor is contiguous")
    }

    fn dims<const D: usize>(&self) -> [usize; D] {
        self.0.layout().shape().dims()
    }
}

fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::new(dims));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

fn conv_shape(x: &Dense, weight: &Dense, geometry: ConvGeometry) -> Conv2dShape {
    let [out_channels, _, kernel_height, kernel_width] = weight.dims();
    let [(top, bottom), (left, right)] = geometry.padding;
    Conv2dShape::new(
        x.dims(),
        out_channels,
        [kernel_height, kernel_width],
        [geometry.stride; 2],
        [top, left, bottom, right],
        geometry.groups,
    )
    .unwrap_or_else(|error| panic!("convolution: {error}"))
}

fn norm_shape(x: &Dense) -> (BatchNormShape, [usize; 4]) {
    let dims: [usize; 4] = x.dims();
    let [batch, channels, height, width] = dims;
    let shape = BatchNormShape::new(batch, channels, height * width)
        .unwrap_or_else(|error| panic!("batch normalisation: {error}"));
    (shape, dims)
}

/// The extents come from the tensors themselves, so a refusal is a bug here and not a user's mistake.
const EXTENTS: &str = "buffers are allocated from the shape";

impl CnnOps for Flex {
    fn cnn_conv2d(x: FlexTensor, weight: FlexTensor, geometry: ConvGeometry) -> FlexTensor {
        let (x, weight) = (Dense::new(x), Dense::new(weight));
        let shape = conv_shape(&x, &weight, geometry);
        let ([batch, ..], [channels, ..]) = (x.dims::<4>(), weight.dims::<4>());
        let dims = [batch, channels, shape.out_height(), shape.out_width()];
        let mut y = vec![0.0; dims.iter().product()];
        conv::conv2d(&shape, x.values(), weight.values(), None, &mut y).expect(EXTENTS);
        tensor(y, dims)
    }

    fn cnn_batch_norm_train(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f64,
        relu: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (x, gamma, beta) = (Dense::new(x), Dense::new(gamma), Dense::new(beta));
        let (shape, dims) = norm_shape(&x);
        let channels = dims[1];
        let mut y = vec![0.0; x.values().len()];
        let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
        let params = BatchNormParams {
            gamma: gamma.values(),
            beta: beta.values(),
            epsilon,
            relu,
        };
        let statistics = (&mut mean, &mut variance);
        batch_norm::batch_norm_train(
            &shape,
            &params,
            x.values(),
            &mut y,
            statistics.0,
            statistics.1,
        )
        .expect(EXTENTS);
        (
            tensor(y, dims),
            tensor(mean, [channels]),
            tensor(variance, [channels]),
        )
    }
}

impl CnnInference for Flex {
    fn cnn_scale_shift(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        relu: bool,
    ) -> FlexTensor {
        let (x, scale, shift) = (Dense::new(x), Dense::new(scale), Dense::new(shift));
        let (shape, dims) = norm_shape(&x);
        let mut y = vec![0.0; x.values().len()];
        batch_norm::batch_norm_eval(
            &shape,
            x.values(),
            scale.values(),
            shift.values(),
            relu,
            &mut y,
        )
        .expect(EXTENTS);
        tensor(y, dims)
    }
}

fn conv_input_gradient(
    x: &Dense,
    weight: &Dense,
    grad: &Dense,
    geometry: ConvGeometry,
) -> FlexTensor {
    let shape = conv_shape(x, weight, geometry);
    let dims: [usize; 4] = x.dims();
    let mut dx = vec![0.0; dims.iter().product()];
    conv::conv2d_backward_input(&shape, weight.values(), grad.values(), &mut dx).expect(EXTENTS);
    tensor(dx, dims)
}

fn conv_weight_gradient(
    x: &Dense,
    weight: &Dense,
    grad: &Dense,
    geometry: ConvGeometry,
) -> FlexTensor {
    let shape = conv_shape(x, weight, geometry);
    let dims: [usize; 4] = weight.dims();
    let mut dw = vec![0.0; dims.iter().product()];
    conv::conv2d_backward_weight(&shape, x.values(), grad.values(), &mut dw).expect(EXTENTS);
    tensor(dw, dims)
}

fn norm_gradients(
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    mean: FlexTensor,
    variance: FlexTensor,
    grad: FlexTensor,
    epsilon: f64,
    relu: bool,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let (x, gamma, beta) = (Dense::new(x), Dense::new(gamma), Dense::new(beta));
    let (mean, variance, grad) = (Dense::new(mean), Dense::new(variance), Dense::new(grad));
    let (shape, dims) = norm_shape(&x);
    let channels = dims[1];
    let mut dx = vec![0.0; x.values().len()];
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    let params = BatchNormParams {
        gamma: gamma.values(),
        beta: beta.values(),
        epsilon,
        relu,
    };
    let gradients = BatchNormGradients {
        dx: &mut dx,
        dgamma: &mut dgamma,
        dbeta: &mut dbeta,
    };
    let (mean, variance, grad) = (mean.values(), variance.values(), grad.values());
    batch_norm::batch_norm_train_backward(
        &shape,
        &params,
        x.values(),
        mean,
        variance,
        grad,
        gradients,
    )
    .expect(EXTENTS);
    (
        tensor(dx, dims),
        tensor(dgamma, [channels]),
        tensor(dbeta, [channels]),
    )
}

#[derive(Debug)]
struct Conv2dBackward;

impl Backward<Flex, 2> for Conv2dBackward {
    type State = (NodeId, NodeId, ConvGeometry);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node] = ops.parents;
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let (x, weight, geometry) = ops.state;
        let x = Dense::new(checkpointer.retrieve_node_output(x));
        let weight = Dense::new(checkpointer.retrieve_node_output(weight));
        if let Some(node) = weight_node {
            let dw = conv_weight_gradient(&x, &weight, &grad, geometry);
            grads.register::<Flex>(node.id, dw);
        }
        if let Some(node) = x_node {
            let dx = conv_input_gradient(&x, &weight, &grad, geometry);
            grads.register::<Flex>(node.id, dx);
        }
    }
}

#[derive(Debug)]
struct BatchNormBackward;

impl Backward<Flex, 3> for BatchNormBackward {
    /// `[x, γ, β]`, batch mean, biased batch variance, (ε, ReLU).
    type State = ([NodeId; 3], FlexTensor, FlexTensor, (f64, bool));

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let nodes = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let (inputs, mean, variance, (epsilon, relu)) = ops.state;
        let [x, gamma, beta] =
            inputs.map(|input| checkpointer.retrieve_node_output::<FlexTensor>(input));
        let (dx, dgamma, dbeta) =
            norm_gradients(x, gamma, beta, mean, variance, grad, epsilon, relu);
        for (node, gradient) in nodes.into_iter().zip([dx, dgamma, dbeta]) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> CnnOps for Autodiff<Flex, C> {
    fn cnn_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        let prepared = Conv2dBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        match prepared {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), geometry);
                let y = Flex::cnn_conv2d(x.into_primitive(), weight.into_primitive(), geometry);
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::cnn_conv2d(
                x.into_primitive(),
                weight.into_primitive(),
                geometry,
            )),
        }
    }

    fn cnn_batch_norm_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = BatchNormBackward
            .prepare::<C>([x.node(), gamma.node(), beta.node()])
            .compute_bound()
            .stateful();
        let forward = |x: FloatTensor<Self>, gamma: FloatTensor<Self>, beta: FloatTensor<Self>| {
            Flex::cnn_batch_norm_train(
                x.into_primitive(),
                gamma.into_primitive(),
                beta.into_primitive(),
                epsilon,
                relu,
            )
        };
        let (y, mean, variance) = match prepared {
            OpsKind::Tracked(mut prep) => {
                let inputs = [
                    prep.checkpoint(&x),
                    prep.checkpoint(&gamma),
                    prep.checkpoint(&beta),
                ];
                let (y, mean, variance) = forward(x, gamma, beta);
                let state = (inputs, mean.clone(), variance.clone(), (epsilon, relu));
                (prep.finish(state, y), mean, variance)
            }
            OpsKind::UnTracked(prep) => {
                let (y, mean, variance) = forward(x, gamma, beta);
                (prep.finish(y), mean, variance)
            }
        };
        (y, Self::from_inner(mean), Self::from_inner(variance))
    }
}
