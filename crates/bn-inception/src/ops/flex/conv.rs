//! Convolution on Flex.

use bn_inception_kernels::{Conv2dShape, conv};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::{Dense, EXTENTS, tensor};
use crate::ops::geometry::ConvGeometry;

pub(in crate::ops) fn conv2d(x: Tensor<4>, weight: Tensor<4>, geometry: ConvGeometry) -> Tensor<4> {
    let y = <Dispatch as ConvOp>::cnn_conv2d(x.into_dispatch(), weight.into_dispatch(), geometry);
    Tensor::from_dispatch(y)
}

/// Convolution on backend primitives, differentiable through `Autodiff<Flex>`.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait ConvOp: Backend {
    fn cnn_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, geometry: ConvGeometry) -> FloatTensor<Self>;
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

impl ConvOp for Flex {
    fn cnn_conv2d(x: FlexTensor, weight: FlexTensor, geometry: ConvGeometry) -> FlexTensor {
        let (x, weight) = (Dense::new(x), Dense::new(weight));
        let shape = conv_shape(&x, &weight, geometry);
        let ([batch, ..], [channels, ..]) = (x.dims::<4>(), weight.dims::<4>());
        let dims = [batch, channels, shape.out_height(), shape.out_width()];
        let mut y = vec![0.0; dims.iter().product()];
        conv::conv2d(&shape, x.values(), weight.values(), &mut y).expect(EXTENTS);
        tensor(y, dims)
    }
}

fn conv_input_gradient(x: &Dense, weight: &Dense, grad: &Dense, geometry: ConvGeometry) -> FlexTensor {
    let shape = conv_shape(x, weight, geometry);
    let dims: [usize; 4] = x.dims();
    let mut dx = vec![0.0; dims.iter().product()];
    conv::conv2d_backward_input(&shape, weight.values(), grad.values(), &mut dx).expect(EXTENTS);
    tensor(dx, dims)
}

fn conv_weight_gradient(x: &Dense, weight: &Dense, grad: &Dense, geometry: ConvGeometry) -> FlexTensor {
    let shape = conv_shape(x, weight, geometry);
    let dims: [usize; 4] = weight.dims();
    let mut dw = vec![0.0; dims.iter().product()];
    conv::conv2d_backward_weight(&shape, x.values(), grad.values(), &mut dw).expect(EXTENTS);
    tensor(dw, dims)
}

#[derive(Debug)]
struct Conv2dBackward;

impl Backward<Flex, 2> for Conv2dBackward {
    type State = (NodeId, NodeId, ConvGeometry);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
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

impl<C: CheckpointStrategy> ConvOp for Autodiff<Flex, C> {
    fn cnn_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, geometry: ConvGeometry) -> FloatTensor<Self> {
        let prepared = Conv2dBackward.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        match prepared {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), geometry);
                let y = Flex::cnn_conv2d(x.into_primitive(), weight.into_primitive(), geometry);
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(Flex::cnn_conv2d(x.into_primitive(), weight.into_primitive(), geometry))
            }
        }
    }
}
