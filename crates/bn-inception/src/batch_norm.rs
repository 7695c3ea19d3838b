//! Batch normalisation as in the paper.
//!
//! Burn's own layer keeps the *biased* batch variance in its running statistics; the paper's inference
//! (Algorithm 2, step 10) and PyTorch use the unbiased one, `m / (m - 1)` times as large with m = N·H·W.

use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::{Device, Tensor};

use crate::ops;

/// Source of the statistics that a forward pass normalises with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Statistics {
    /// The layer's running statistics (inference).
    Running,
    /// The batch (training). Its statistics are blended into the running ones with the layer's momentum.
    Batch,
    /// The batch, as in training. Its statistics replace the running ones.
    Replace,
    /// The batch. Its statistics are blended into the running ones with this weight: `1/k` for the k-th batch makes the
    /// running statistics the plain mean over batches (Algorithm 2).
    Population {
        /// Weight of the newest batch.
        weight: f64,
    },
}

impl Statistics {
    /// The batch if `x` is on an autodiff device, the running statistics otherwise.
    pub(crate) fn of(x: &Tensor<4>) -> Self {
        if x.device().is_autodiff() { Self::Batch } else { Self::Running }
    }
}

/// Batch normalisation over `[N, C, H, W]` (paper, Algorithm 1 and section 3.2): one mean, variance, γ and β per
/// feature map, statistics over m = N·H·W values.
///
/// The running statistics are up to date after each forward pass. As everywhere in Burn, clones of a module share them;
/// [`Module::valid`] makes an independent copy.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Learned scale γ, `[C]`; absent in networks without one.
    pub gamma: Option<Param<Tensor<1>>>,
    /// Learned shift β, `[C]`.
    pub beta: Param<Tensor<1>>,
    /// Running mean, `[C]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running unbiased variance, `[C]`.
    pub running_var: RunningState<Tensor<1>>,
    /// Cleared by [`Module::freeze`]: a frozen layer normalises with, and keeps, its running statistics.
    pub training: Param<Flag>,
    epsilon: f64,
    momentum: f64,
}

impl BatchNorm {
    /// A layer over `channels` feature maps with γ = 1, β = 0, mean 0 and variance 1. `epsilon` is added to the
    /// variance; `momentum` is the weight of the newest batch in the running statistics.
    pub fn new(channels: usize, epsilon: f64, momentum: f64, scale: bool, device: &Device) -> Self {
        let zeros = || Tensor::<1>::zeros([channels], device);
        let ones = || Tensor::<1>::ones([channels], device);
        Self {
            gamma: scale.then(|| Param::from_tensor(ones())),
            beta: Param::from_tensor(zeros()),
            running_mean: RunningState::new(zeros()),
            running_var: RunningState::new(ones()),
            training: Param::from_bool(true),
            epsilon,
            momentum,
        }
    }

    /// Normalises `x` with the batch's statistics if it is on an autodiff device and the layer is not frozen, with the
    /// running statistics otherwise.
    ///
    /// # Shapes
    /// `[N, C, H, W]` → `[N, C, H, W]`
    ///
    /// # Panics
    /// If the second axis of `x` is not the layer's number of channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let statistics = Statistics::of(&x);
        self.apply(x, None, statistics, false)
    }

    /// [`Self::forward`] of `x + bias`, followed by a ReLU if `relu` is set, in as few passes as the device allows.
    pub(crate) fn apply(&self, x: Tensor<4>, bias: Option<Tensor<1>>, statistics: Statistics, relu: bool) -> Tensor<4> {
        let Some(weight) = self.batch_weight(statistics) else {
            let (scale, shift) = self.scale_shift(bias);
            return ops::scale_shift(x, scale, shift, relu);
        };
        let [n, _, h, w] = x.dims();
        let gamma = self.gamma_or_ones();
        let (y, mean, variance) = ops::batch_norm_train(x, gamma, self.beta.val(), self.epsilon, relu);
        self.blend([mean, variance], n * h * w, bias, weight);
        y
    }

    /// Weight of the batch in the running statistics if the layer normalises with the batch's; `None` if with its own.
    pub(crate) fn batch_weight(&self, statistics: Statistics) -> Option<f64> {
        match statistics {
            Statistics::Batch if self.training.is_enabled() => Some(self.momentum),
            Statistics::Replace if self.training.is_enabled() => Some(1.0),
            Statistics::Population { weight } => Some(weight),
            _ => None,
        }
    }

    /// Blends mean and biased variance of a batch, over `count` values a channel, into the running statistics. The
    /// `bias` cancels in the layer's output (section 3.2); only the running mean depends on it.
    pub(crate) fn blend(&self, statistics: [Tensor<1>; 2], count: usize, bias: Option<Tensor<1>>, weight: f64) {
        let [mean, variance] = statistics;
        let mean = match bias {
            Some(bias) => mean + bias.detach().without_autodiff(),
            None => mean,
        };
        blend(&self.running_mean, mean, weight);
        // One value has no spread: its variance stays 0 instead of 0/0.
        let m = count as f64;
        blend(&self.running_var, variance * (m / (m - 1.0).max(1.0)), weight);
    }

    /// The inference transform `y = scale · x + shift` of `x + bias` (Algorithm 2, step 11), both `[C]`.
    pub(crate) fn scale_shift(&self, bias: Option<Tensor<1>>) -> (Tensor<1>, Tensor<1>) {
        let mean = self.running_mean.value();
        let scale = self.gamma_or_ones() / (self.running_var.value() + self.epsilon).sqrt();
        let centre = match bias {
            Some(bias) => bias - mean,
            None => -mean,
        };
        let shift = self.beta.val() + centre * scale.clone();
        (scale, shift)
    }

    fn gamma_or_ones(&self) -> Tensor<1> {
        match &self.gamma {
            Some(gamma) => gamma.val(),
            None => self.beta.val().ones_like().detach(),
        }
    }
}

pub(crate) fn blend(kept: &RunningState<Tensor<1>>, newest: Tensor<1>, weight: f64) {
    let old = kept.value_sync().without_autodiff();
    let newest = newest.to_device(&old.device());
    // Not `old · 0 + newest`, which is NaN if `old` is not finite.
    kept.update(if weight == 1.0 { newest } else { old * (1.0 - weight) + newest * weight });
    // Without this the update waits for the next forward pass, and a checkpoint taken now would miss it.
    kept.value_sync();
}
