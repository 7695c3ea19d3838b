//! The network for inference, without batch normalisation.

use std::sync::Arc;

use bn_inception_kernels::infer::{End, Engine, Linear, NetworkError, Operation};
use burn::tensor::{Device, Tensor, TensorData};

pub use bn_inception_kernels::infer::{
    Algorithm, LayerTime, NetworkError as EngineError, Options as EngineOptions, Precision as EnginePrecision,
};

use crate::config::{Activation, BnInceptionConfig, Normalization};
use crate::device;
use crate::end_points::{CLASSIFIER, UnknownEndPoint};
use crate::fold::fold;
use crate::model::Model;
use crate::network::{end_of, to_network, to_state};
use crate::ops;
use crate::plan::BLOCK_NAMES;
use crate::pool::Pooling;
use crate::state::{self, State, StateError};

/// BN-Inception for inference: every batch normalisation is merged into the convolution before it. Made by
/// [`Model::fold`]; the same logits up to rounding, fewer parameters, no gradients.
///
/// On CPU devices (Flex, ndarray) a forward pass is one call into the engine of `bn-inception-kernels`
/// ([`engine`](Self::engine)), which plans once for each batch and image size; elsewhere it runs through Burn's own
/// operations, as it does for networks with sigmoid, local response normalisation or inputs of other than three
/// channels.
///
/// ```
/// use bn_inception::{Preset, burn::tensor::{Device, Tensor}};
///
/// let device = Device::flex();
/// let model = Preset::Caffe.config().with_width(0.125).with_classes(10).init(&device)?;
/// let images = Tensor::<4>::ones([2, 3, 64, 64], &device);
/// let difference = model.fold().forward(images.clone()) - model.forward(images);
/// assert!(difference.abs().max().into_scalar::<f32>() < 1e-4);
/// # Ok::<(), bn_inception::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FoldedModel {
    config: BnInceptionConfig,
    runner: Runner,
}

#[derive(Debug, Clone)]
enum Runner {
    Engine(Arc<Engine>),
    Burn(Box<Model>),
}

impl Model {
    /// This network for inference, on the same device, with its current running statistics.
    pub fn fold(&self) -> FoldedModel {
        let device = self.classifier.bias.val().device().inner();
        let folded = FoldedModel::new(self.config(), self.state(), &device, &EngineOptions::default());
        folded.expect("a model's own state fits it, and the default options are valid")
    }
}

/// Failure to make a [`FoldedModel`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FoldError {
    /// The tensors are not those of the configuration.
    #[error(transparent)]
    State(#[from] StateError),
    /// The engine refuses the options.
    #[error(transparent)]
    Engine(#[from] NetworkError),
}

impl FoldedModel {
    /// The inference network of `config` with the tensors of `state`, which are folded here unless they are already
    /// ([`Normalization::Folded`]). `options` are for the CPU engine: threads, instruction set, algorithm.
    ///
    /// # Errors
    /// [`FoldError::State`] if the tensors are not those of the configuration, [`FoldError::Engine`] if the processor
    /// lacks the requested instruction set.
    pub fn new(
        config: &BnInceptionConfig,
        state: State,
        device: &Device,
        options: &EngineOptions,
    ) -> Result<Self, FoldError> {
        state::check(&config.tensors(), &state)?;
        Ok(Self::of_checked(config, state, device, options)?)
    }

    /// [`Self::new`] of a state that [`state::check`] has accepted.
    pub(crate) fn of_checked(
        config: &BnInceptionConfig,
        state: State,
        device: &Device,
        options: &EngineOptions,
    ) -> Result<Self, NetworkError> {
        let device = device.clone().inner();
        let (config, state) = fold(config, state);
        let described = config.activation == Activation::Relu && config.normalization == Normalization::Folded;
        // The engine packs images of three channels.
        let described = described && config.image_channels() == 3;
        let runner = if described && device::is_cpu(&device) {
            let network = to_network(&config.layers(), state);
            Runner::Engine(Arc::new(Engine::new(network, options)?))
        } else {
            let model = state::fill(config.blank(&device), state);
            Runner::Burn(Box::new(model))
        };
        Ok(Self { config, runner })
    }

    /// The folded network's configuration: [`Normalization::Folded`] where there was batch normalisation, a plain
    /// stem where there was a separable one.
    pub fn config(&self) -> &BnInceptionConfig {
        &self.config
    }

    /// Filters and biases by name (`stem.conv1.weight`, `3a.conv_3x3.bias`, … `classifier.bias`), copied.
    pub fn state(&self) -> State {
        match &self.runner {
            Runner::Engine(engine) => to_state(engine.network()),
            Runner::Burn(model) => model.state(),
        }
    }

    /// The CPU engine, if the forward pass runs in it; it reports threads, memory and time by layer.
    pub fn engine(&self) -> Option<&Engine> {
        match &self.runner {
            Runner::Engine(engine) => Some(engine),
            Runner::Burn(_) => None,
        }
    }

    /// Logits of a batch of normalised images. If the network runs through Burn's operations, the images must be on its
    /// device. The logits are on the images' device, without gradients.
    ///
    /// # Shapes
    /// `[N, 3, H, W]` → `[N, classes]`; H and W at least [`BnInceptionConfig::smallest_input`].
    ///
    /// # Panics
    /// If the images have another number of channels or are smaller than that.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let images = images.without_autodiff();
        match &self.runner {
            Runner::Burn(model) => model.forward(images),
            Runner::Engine(engine) => ops::infer(images, engine, engine.end()),
        }
    }

    /// Feature map of the end point `stem`, `3a` … or `5b`, as by [`Model::features`]; nothing after it is computed. All
    /// end points share one engine with [`forward`](Self::forward): each image size takes working memory for each of
    /// them, but filters are there once. Device and gradients are as in `forward`.
    ///
    /// ```
    /// use bn_inception::{Pooling, Preset, burn::tensor::{Device, Tensor}};
    ///
    /// let device = Device::flex();
    /// let model = Preset::Caffe.config().with_width(0.125).init(&device)?.fold();
    /// let images = Tensor::<4>::ones([2, 3, 64, 64], &device);
    /// assert_eq!(model.features(images.clone(), "3c")?.dims(), [2, 88, 4, 4]);
    /// assert_eq!(model.embed(images, "5b", Pooling::Max)?.dims(), [2, 136]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Shapes
    /// `[N, 3, H, W]` → `[N, C, H', W']`
    ///
    /// # Errors
    /// [`UnknownEndPoint`] with the known names, if `end_point` is not one of them.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn features(&self, images: Tensor<4>, end_point: &str) -> Result<Tensor<4>, UnknownEndPoint> {
        let count = self.config.count_through(end_point)?;
        let images = images.without_autodiff();
        Ok(match &self.runner {
            Runner::Burn(model) => model.inference_through(images, count),
            Runner::Engine(engine) => ops::infer(images, engine, End::Layer(end_of(engine.network(), end_point))),
        })
    }

    /// The pooled map of an end point, for retrieval, clustering or a classifier of another kind. The means of `5b` are
    /// what the network's own classifier reads. The end point `classifier` is that layer's output for the pooled `5b`:
    /// in a network for retrieval its embedding, in others the logits.
    ///
    /// # Shapes
    /// `[N, C, H, W]` → `[N, C']`: the channels of the end point, or the outputs of the last layer
    ///
    /// # Errors
    /// [`UnknownEndPoint`] with the known names, if `end_point` is not one of them.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn embed(&self, images: Tensor<4>, end_point: &str, pooling: Pooling) -> Result<Tensor<2>, UnknownEndPoint> {
        if end_point == CLASSIFIER {
            return Ok(match pooling {
                Pooling::Average => self.forward(images),
                _ => self.classify(pooling.of(self.features(images, BLOCK_NAMES[BLOCK_NAMES.len() - 1])?)),
            });
        }
        self.config.pooled_end_point(end_point)?;
        match (&self.runner, pooling) {
            (Runner::Engine(engine), Pooling::Average) => {
                let end = End::Mean(end_of(engine.network(), end_point));
                Ok(ops::infer(images.without_autodiff(), engine, end))
            }
            _ => Ok(pooling.of(self.features(images, end_point)?)),
        }
    }

    /// Outputs of the last layer for pooled features, `[N, C]` → `[N, classes]`.
    fn classify(&self, pooled: Tensor<2>) -> Tensor<2> {
        let engine = match &self.runner {
            Runner::Burn(model) => return model.classifier.classify(pooled),
            Runner::Engine(engine) => engine,
        };
        let Some(layer) = engine.network().layers.last() else {
            unreachable!("every network has layers");
        };
        let Operation::Classifier(Linear { weight, bias }) = &layer.operation else {
            unreachable!("every network ends in a classifier");
        };
        let (device, classes) = (pooled.device(), bias.len());
        let weight = TensorData::new(weight.clone(), [classes, weight.len() / classes]);
        let bias = TensorData::new(bias.clone(), [1, classes]);
        pooled.matmul(Tensor::<2>::from_data(weight, &device).transpose()) + Tensor::from_data(bias, &device)
    }
}
