//! The inference engine on Flex: images are read in place, without a copy.

use std::sync::Arc;

use bn_inception_kernels::infer::Engine;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::engine;
use super::host::Host;

pub(super) fn infer(images: Tensor<4>, engine: &Arc<Engine>) -> Tensor<2> {
    let logits = <Dispatch as InferOp>::cnn_infer(images.into_dispatch(), engine.clone());
    Tensor::from_dispatch(logits)
}

/// A whole network on backend primitives, not differentiable.
#[backend_extension(Flex)]
pub(crate) trait InferOp: Backend {
    fn cnn_infer(images: FloatTensor<Self>, engine: Arc<Engine>) -> FloatTensor<Self>;
}

impl InferOp for Flex {
    fn cnn_infer(images: FlexTensor, engine: Arc<Engine>) -> FlexTensor {
        let [batch, _, height, width] = images.layout().shape().dims();
        let images = Self::dense(images);
        let logits = engine::logits(&engine, Self::values(&images), [batch, height, width]);
        let shape = Shape::new([batch, engine.network().classes()]);
        Self::tensor(logits, shape, &Default::default())
    }
}
