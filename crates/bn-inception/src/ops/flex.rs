//! The inference engine on Flex: images are read in place, without a copy.

use std::sync::Arc;

use bn_inception_kernels::infer::{End, Engine};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, BackendTensor, Dispatch, DispatchTensorKind, Flex, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::engine;
use super::host::Host;

pub(super) fn infer<const D: usize>(images: Tensor<4>, engine: &Arc<Engine>, end: End) -> Tensor<D> {
    let output = <Dispatch as InferOp>::cnn_infer(images.into_dispatch(), engine.clone(), end);
    Tensor::from_dispatch(output)
}

/// True if both hold the same bits, false if not; `None` for tensors that are not both on Flex. Those that share their
/// memory are not compared.
pub(super) fn same(a: &Tensor<1>, b: &Tensor<1>) -> Option<bool> {
    let dense = |tensor: &Tensor<1>| match tensor.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Some(Flex::dense(tensor)),
        _ => None,
    };
    let (a, b) = (dense(a)?, dense(b)?);
    let (a, b) = (Flex::values(&a), Flex::values(&b));
    let equal = || a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    Some(a.len() == b.len() && (std::ptr::eq(a, b) || equal()))
}

/// A network up to an end on backend primitives, not differentiable.
#[backend_extension(Flex)]
pub(crate) trait InferOp: Backend {
    fn cnn_infer(images: FloatTensor<Self>, engine: Arc<Engine>, end: End) -> FloatTensor<Self>;
}

impl InferOp for Flex {
    fn cnn_infer(images: FlexTensor, engine: Arc<Engine>, end: End) -> FlexTensor {
        let [batch, _, height, width] = images.layout().shape().dims();
        let images = Self::dense(images);
        let (output, shape) = engine::run(&engine, end, Self::values(&images), [batch, height, width]);
        Self::tensor(output, Shape::from(shape), &Default::default())
    }
}
