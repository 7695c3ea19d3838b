//! The layers after block 5b: global average pool, dropout, linear classifier (Figure 5, last rows).

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Initializer};
use burn::tensor::{Device, Tensor};

use crate::pool;

/// Global average pool → dropout → linear.
#[derive(Module, Debug)]
pub struct ClassifierHead {
    /// Weight, `[classes, channels]`.
    pub weight: Param<Tensor<2>>,
    /// Bias, `[classes]`.
    pub bias: Param<Tensor<1>>,
    /// Dropout of the pooled features in training.
    pub dropout: Dropout,
}

impl ClassifierHead {
    pub(crate) fn init(channels: usize, classes: usize, dropout: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init([classes, channels], device),
            bias: Param::from_tensor(Tensor::zeros([classes], device)),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// Logits from the output of block 5b: `[N, channels, H, W]` → `[N, classes]`.
    pub fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        self.classify(pool::global_average(features))
    }

    /// Logits from the means of the channels: `[N, channels]` → `[N, classes]`.
    pub fn classify(&self, pooled: Tensor<2>) -> Tensor<2> {
        let pooled = self.dropout.forward(pooled);
        let logits = pooled.matmul(self.weight.val().transpose());
        logits + self.bias.val().reshape([1, -1])
    }
}
