//! Backends whose tensors are in the process's own memory.

use burn::backend::Backend;
use burn::backend::tensor::{Device, FloatTensor};
use burn::tensor::Shape;

/// Access to the elements of `f32` tensors.
pub(super) trait Host: Backend {
    /// A contiguous tensor.
    type Dense;

    fn dense(tensor: FloatTensor<Self>) -> Self::Dense;

    fn values(dense: &Self::Dense) -> &[f32];

    fn tensor(values: Vec<f32>, shape: Shape, device: &Device<Self>) -> FloatTensor<Self>;
}

#[cfg(feature = "flex")]
mod flex {
    use super::{Device, FloatTensor, Host, Shape};
    use burn::backend::Flex;
    use burn::backend::flex::{FlexTensor, Layout};
    use burn::tensor::{Bytes, DType};

    impl Host for Flex {
        type Dense = FlexTensor;

        fn dense(tensor: FloatTensor<Self>) -> FlexTensor {
            tensor.to_contiguous()
        }

        fn values(dense: &FlexTensor) -> &[f32] {
            dense.as_slice().expect("`serves` admits f32 only, and the tensor is contiguous")
        }

        fn tensor(values: Vec<f32>, shape: Shape, _: &Device<Self>) -> FlexTensor {
            FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
        }
    }
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)]
mod ndarray {
    use super::{Device, FloatTensor, Host, Shape};
    use burn::backend::NdArray;
    use burn::backend::ops::FloatTensorOps as _;
    use burn::tensor::{TensorData, read_sync};

    impl Host for NdArray {
        type Dense = Vec<f32>;

        fn dense(tensor: FloatTensor<Self>) -> Vec<f32> {
            let data = read_sync(Self::float_into_data(tensor)).expect("a tensor in memory can be read");
            data.try_into_vec().expect("`serves` admits f32 only")
        }

        fn values(dense: &Vec<f32>) -> &[f32] {
            dense
        }

        fn tensor(values: Vec<f32>, shape: Shape, device: &Device<Self>) -> FloatTensor<Self> {
            Self::float_from_data(TensorData::new(values, shape), device)
        }
    }
}
