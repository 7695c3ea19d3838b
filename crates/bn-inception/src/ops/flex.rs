//! Flex: the operations as calls into `bn-inception-kernels`, with their backward passes.

use burn::backend::DispatchDevice;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape, Tensor};

pub(super) use conv::conv2d;
pub(super) use infer::infer;
pub(super) use norm::{batch_norm_train, scale_shift};
pub(super) use pool::{avg_pool2d, max_pool2d};

mod conv;
mod infer;
mod norm;
mod pool;

/// True if the kernels accept this tensor: `f32` on Flex.
pub(super) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && matches!(tensor.device().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// A contiguous tensor with its shape, read-only.
struct Dense(FlexTensor);

impl Dense {
    fn new(tensor: FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    fn values(&self) -> &[f32] {
        self.0.as_slice().expect("`serves` admits f32 only, and the tensor is contiguous")
    }

    fn dims<const D: usize>(&self) -> [usize; D] {
        self.0.layout().shape().dims()
    }
}

fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::new(dims));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// The extents come from the tensors themselves, so an error would be a bug here, not a user's mistake.
const EXTENTS: &str = "buffers are allocated from the shape";
