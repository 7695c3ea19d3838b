//! Batch normalisation on Flex.

use bn_inception_kernels::BatchNormShape;
use bn_inception_kernels::batch_norm::{self, BatchNormGradients, BatchNormParams};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::{Dense, EXTENTS, tensor};

pub(in crate::ops) fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    relu: bool,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let (y, mean, variance) = <Dispatch as NormOp>::cnn_batch_norm_train(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        epsilon,
        relu,
    );
    let plain = |statistic| Tensor::<1>::from_dispatch(statistic).without_autodiff();
    (Tensor::from_dispatch(y), plain(mean), plain(variance))
}

pub(in crate::ops) fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, relu: bool) -> Tensor<4> {
    let y = <Dispatch as ScaleShiftOp>::cnn_scale_shift(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        relu,
    );
    Tensor::from_dispatch(y)
}

/// Training-time normalisation on backend primitives, differentiable through `Autodiff<Flex>`.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait NormOp: Backend {
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
pub(crate) trait ScaleShiftOp: Backend {
    fn cnn_scale_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self>;
}

fn norm_shape(x: &Dense) -> (BatchNormShape, [usize; 4]) {
    let dims: [usize; 4] = x.dims();
    let [batch, channels, height, width] = dims;
    let shape = BatchNormShape::new(batch, channels, height * width)
        .unwrap_or_else(|error| panic!("batch normalisation: {error}"));
    (shape, dims)
}

impl NormOp for Flex {
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
        let params = BatchNormParams { gamma: gamma.values(), beta: beta.values(), epsilon, relu };
        batch_norm::batch_norm_train(&shape, &params, x.values(), &mut y, &mut mean, &mut variance).expect(EXTENTS);
        (tensor(y, dims), tensor(mean, [channels]), tensor(variance, [channels]))
    }
}

impl ScaleShiftOp for Flex {
    fn cnn_scale_shift(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, relu: bool) -> FlexTensor {
        let (x, scale, shift) = (Dense::new(x), Dense::new(scale), Dense::new(shift));
        let (shape, dims) = norm_shape(&x);
        let mut y = vec![0.0; x.values().len()];
        batch_norm::batch_norm_eval(&shape, x.values(), scale.values(), shift.values(), relu, &mut y).expect(EXTENTS);
        tensor(y, dims)
    }
}

fn norm_gradients(
    inputs: [FlexTensor; 3],
    mean: FlexTensor,
    variance: FlexTensor,
    grad: FlexTensor,
    epsilon: f64,
    relu: bool,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [x, gamma, beta] = inputs.map(Dense::new);
    let (mean, variance, grad) = (Dense::new(mean), Dense::new(variance), Dense::new(grad));
    let (shape, dims) = norm_shape(&x);
    let channels = dims[1];
    let mut dx = vec![0.0; x.values().len()];
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    let params = BatchNormParams { gamma: gamma.values(), beta: beta.values(), epsilon, relu };
    let gradients = BatchNormGradients { dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta };
    let (mean, variance, grad) = (mean.values(), variance.values(), grad.values());
    batch_norm::batch_norm_train_backward(&shape, &params, x.values(), mean, variance, grad, gradients).expect(EXTENTS);
    (tensor(dx, dims), tensor(dgamma, [channels]), tensor(dbeta, [channels]))
}

#[derive(Debug)]
struct BatchNormBackward;

impl Backward<Flex, 3> for BatchNormBackward {
    /// `[x, γ, β]`, batch mean, biased batch variance, (ε, ReLU).
    type State = ([NodeId; 3], FlexTensor, FlexTensor, (f64, bool));

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let nodes = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let (inputs, mean, variance, (epsilon, relu)) = ops.state;
        let inputs = inputs.map(|input| checkpointer.retrieve_node_output::<FlexTensor>(input));
        let (dx, dgamma, dbeta) = norm_gradients(inputs, mean, variance, grad, epsilon, relu);
        for (node, gradient) in nodes.into_iter().zip([dx, dgamma, dbeta]) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> NormOp for Autodiff<Flex, C> {
    fn cnn_batch_norm_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = BatchNormBackward.prepare::<C>([x.node(), gamma.node(), beta.node()]).compute_bound().stateful();
        let forward = |x: FloatTensor<Self>, gamma: FloatTensor<Self>, beta: FloatTensor<Self>| {
            Flex::cnn_batch_norm_train(x.into_primitive(), gamma.into_primitive(), beta.into_primitive(), epsilon, relu)
        };
        let (y, mean, variance) = match prepared {
            OpsKind::Tracked(mut prep) => {
                let inputs = [prep.checkpoint(&x), prep.checkpoint(&gamma), prep.checkpoint(&beta)];
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
