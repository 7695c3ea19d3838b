//! 3x3 pooling on Flex.

use bn_inception_kernels::pool::{self, Pool2dShape};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::{Dense, EXTENTS, tensor};
use crate::ops::geometry::PoolGeometry;

pub(in crate::ops) fn max_pool2d(x: Tensor<4>, geometry: PoolGeometry) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as PoolOp>::cnn_max_pool2d(x.into_dispatch(), geometry))
}

pub(in crate::ops) fn avg_pool2d(x: Tensor<4>, geometry: PoolGeometry, includes_padding: bool) -> Tensor<4> {
    let y = <Dispatch as PoolOp>::cnn_avg_pool2d(x.into_dispatch(), geometry, includes_padding);
    Tensor::from_dispatch(y)
}

/// Pooling on backend primitives, differentiable through `Autodiff<Flex>`.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait PoolOp: Backend {
    fn cnn_max_pool2d(x: FloatTensor<Self>, geometry: PoolGeometry) -> FloatTensor<Self>;
    fn cnn_avg_pool2d(x: FloatTensor<Self>, geometry: PoolGeometry, includes_padding: bool) -> FloatTensor<Self>;
}

/// The shape of a pooling and the dimensions of its output.
fn pool_shape(dims: [usize; 4], geometry: PoolGeometry) -> (Pool2dShape, [usize; 4]) {
    let [(top, bottom), (left, right)] = geometry.padding;
    let padding = [top, left, bottom, right];
    let shape = Pool2dShape::new(dims, [3, 3], [geometry.stride; 2], padding, false)
        .unwrap_or_else(|error| panic!("pooling: {error}"));
    let [batch, channels, ..] = dims;
    let out = [batch, channels, shape.out_height(), shape.out_width()];
    (shape, out)
}

/// Maxima and, for the backward pass, the index of each in its plane.
fn max_with_indices(x: FlexTensor, geometry: PoolGeometry) -> (FlexTensor, Vec<u32>) {
    let x = Dense::new(x);
    let (shape, dims) = pool_shape(x.dims(), geometry);
    let mut y = vec![0.0; shape.output_len()];
    let mut indices = vec![0; shape.output_len()];
    pool::max_pool2d(&shape, x.values(), &mut y, &mut indices).expect(EXTENTS);
    (tensor(y, dims), indices)
}

impl PoolOp for Flex {
    fn cnn_max_pool2d(x: FlexTensor, geometry: PoolGeometry) -> FlexTensor {
        max_with_indices(x, geometry).0
    }

    fn cnn_avg_pool2d(x: FlexTensor, geometry: PoolGeometry, includes_padding: bool) -> FlexTensor {
        let x = Dense::new(x);
        let (shape, dims) = pool_shape(x.dims(), geometry);
        let mut y = vec![0.0; shape.output_len()];
        pool::avg_pool2d(&shape, includes_padding, x.values(), &mut y).expect(EXTENTS);
        tensor(y, dims)
    }
}

#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Flex, 1> for MaxPoolBackward {
    /// Dimensions of the input, geometry, indices of the maxima.
    type State = ([usize; 4], PoolGeometry, Vec<u32>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let (dims, geometry, indices) = ops.state;
        let [Some(node)] = ops.parents else { return };
        let (shape, _) = pool_shape(dims, geometry);
        let mut dx = vec![0.0; shape.input_len()];
        pool::max_pool2d_backward(&shape, grad.values(), &indices, &mut dx).expect(EXTENTS);
        grads.register::<Flex>(node.id, tensor(dx, dims));
    }
}

#[derive(Debug)]
struct AvgPoolBackward;

impl Backward<Flex, 1> for AvgPoolBackward {
    /// Dimensions of the input, geometry, `includes_padding`.
    type State = ([usize; 4], PoolGeometry, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let (dims, geometry, includes_padding) = ops.state;
        let [Some(node)] = ops.parents else { return };
        let (shape, _) = pool_shape(dims, geometry);
        let mut dx = vec![0.0; shape.input_len()];
        pool::avg_pool2d_backward(&shape, includes_padding, grad.values(), &mut dx).expect(EXTENTS);
        grads.register::<Flex>(node.id, tensor(dx, dims));
    }
}

impl<C: CheckpointStrategy> PoolOp for Autodiff<Flex, C> {
    fn cnn_max_pool2d(x: FloatTensor<Self>, geometry: PoolGeometry) -> FloatTensor<Self> {
        let prepared = MaxPoolBackward.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = x.into_primitive();
        let dims = x.layout().shape().dims();
        match prepared {
            OpsKind::Tracked(prep) => {
                let (y, indices) = max_with_indices(x, geometry);
                prep.finish((dims, geometry, indices), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::cnn_max_pool2d(x, geometry)),
        }
    }

    fn cnn_avg_pool2d(x: FloatTensor<Self>, geometry: PoolGeometry, includes_padding: bool) -> FloatTensor<Self> {
        let prepared = AvgPoolBackward.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = x.into_primitive();
        let dims = x.layout().shape().dims();
        let y = Flex::cnn_avg_pool2d(x, geometry, includes_padding);
        match prepared {
            OpsKind::Tracked(prep) => prep.finish((dims, geometry, includes_padding), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}
