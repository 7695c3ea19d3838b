//! The network.

use std::sync::Arc;

use bn_inception_kernels::infer::LayerTime;
use bn_inception_kernels::train::Trainer;
use burn::module::{Content, Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};

use crate::batch_norm::Statistics;
use crate::classifier::ClassifierHead;
use crate::config::{BnInceptionConfig, ConfigError};
use crate::device::is_cpu;
use crate::end_points::{Features, UnknownEndPoint};
use crate::frozen::FrozenPart;
use crate::inception::InceptionBlock;
use crate::layers::Operation;
use crate::plan::BLOCK_NAMES;
use crate::pool;
use crate::segment::{Parameters, Segment};
use crate::state::{self, State, StateError};
use crate::stem::Stem;
use crate::summary::ModelSummary;

/// BN-Inception. Made by [`BnInceptionConfig::init`] or [`Weights::open`](crate::weights::Weights::open).
///
/// Like every Burn module it trains on an autodiff device (`device.autodiff()`), where batch normalisation uses the
/// batch's statistics, and infers on a plain one, where it uses the running statistics.
///
/// ```
/// use bn_inception::{Preset, burn::tensor::{Device, Tensor}};
///
/// let device = Device::flex();
/// let model = Preset::Caffe.config().with_width(0.125).with_classes(10).init(&device)?;
/// let images = Tensor::<4>::zeros([2, 3, 64, 64], &device);
/// assert_eq!(model.forward(images).dims(), [2, 10]);
/// # Ok::<(), bn_inception::ConfigError>(())
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Model {
    /// The layers before block 3a.
    pub stem: Stem,
    /// The ten inception blocks, 3a to 5b.
    pub blocks: Vec<InceptionBlock>,
    /// The layers after block 5b.
    pub classifier: ClassifierHead,
    #[module(skip)]
    config: BnInceptionConfig,
    /// Number of frozen end points, counted from `stem`.
    #[module(skip)]
    frozen: usize,
    /// The frozen end points for the CPU's inference engine.
    #[module(skip)]
    frozen_part: FrozenPart,
    /// For the CPU engine: everything after a number of end points up to the mean before the classifier.
    #[module(skip)]
    segments: Arc<[Arc<Segment>]>,
}

impl BnInceptionConfig {
    /// A network with newly drawn weights on `device` (autodiff or not): [`Self::init_seeded`] with seed 0.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration describes no network.
    pub fn init(&self, device: &Device) -> Result<Model, ConfigError> {
        self.init_seeded(device, 0)
    }

    /// A network whose weights depend on `seed` alone, not on device or backend.
    ///
    /// Filters are drawn from a normal distribution with variance 2/fan-in (He et al. 2015) before a ReLU and 1/fan-in
    /// otherwise; biases and β start at 0, γ at 1. The paper does not specify its initialisation.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration describes no network.
    pub fn init_seeded(&self, device: &Device, seed: u64) -> Result<Model, ConfigError> {
        self.validate()?;
        let blank = self.blank(device);
        Ok(state::draw(blank, self.activation, seed, |_| true))
    }

    /// A network with zero weights.
    pub(crate) fn blank(&self, device: &Device) -> Model {
        let layers = self.layers();
        let blocks = self.blocks().into_iter();
        let channels = layers.last().map_or(0, |layer| match layer.operation {
            Operation::Linear { in_channels } => in_channels,
            _ => 0,
        });
        // The mean is the last layer but one.
        let end = layers.len() - 1;
        let starts = BLOCK_NAMES.iter().filter_map(|name| layers.iter().position(|layer| layer.block == *name));
        let starts = std::iter::once(0).chain(starts).chain([end - 1]);
        Model {
            segments: starts.map(|start| Segment::new(self, &layers, start..end)).collect(),
            stem: Stem::init(&layers, self, device),
            blocks: blocks.map(|plan| InceptionBlock::init(plan, &layers, self, device)).collect(),
            classifier: ClassifierHead::init(channels, self.classes, self.dropout, device),
            config: self.clone(),
            frozen: 0,
            frozen_part: FrozenPart::default(),
        }
    }
}

impl Model {
    /// The network's configuration.
    pub fn config(&self) -> &BnInceptionConfig {
        &self.config
    }

    /// This network with a new classifier for other classes: [`Self::with_classes_seeded`] with seed 0.
    ///
    /// # Errors
    /// [`ConfigError`] if the number of classes is out of range.
    pub fn with_classes(self, classes: usize) -> Result<Self, ConfigError> {
        self.with_classes_seeded(classes, 0)
    }

    /// This network with a new classifier for other classes and everything else unchanged: the start of fine-tuning.
    /// The classifier's weights depend on `seed` alone and are drawn as by [`BnInceptionConfig::init_seeded`].
    ///
    /// ```
    /// use bn_inception::{Preset, burn::tensor::Device};
    ///
    /// let trained = Preset::Small.config().with_width(0.25).init(&Device::flex().autodiff())?;
    /// let model = trained.with_classes_seeded(5, 1)?.freeze_through("4e")?;
    /// assert_eq!(model.config().classes, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`] if the number of classes is out of range.
    pub fn with_classes_seeded(self, classes: usize, seed: u64) -> Result<Self, ConfigError> {
        let config = self.config.with_classes(classes);
        config.validate()?;
        let [_, channels] = self.classifier.weight.lazy_shape().dims();
        let device = self.classifier.weight.lazy_device();
        let activation = config.activation;
        let model =
            Self { classifier: ClassifierHead::init(channels, classes, config.dropout, &device), config, ..self };
        let of_classifier = |name: &str| name.starts_with("classifier.");
        Ok(state::draw(model, activation, seed, of_classifier))
    }

    /// This network with everything up to and including the end point `stem`, `3a` … or `5b` frozen, besides any part
    /// frozen before.
    ///
    /// In training the frozen part runs as in inference: batch normalisation uses and keeps its running statistics, and
    /// no gradients are computed for it. On a CPU [`forward`](Self::forward) runs it folded, like [`Self::fold`].
    ///
    /// # Errors
    /// [`UnknownEndPoint`] with the known names, if `end_point` is not one of them.
    pub fn freeze_through(mut self, end_point: &str) -> Result<Self, UnknownEndPoint> {
        self.frozen = self.frozen.max(self.config.count_through(end_point)?);
        self.stem = self.stem.freeze();
        let blocks = self.blocks.into_iter().enumerate();
        self.blocks =
            blocks.map(|(index, block)| if index + 1 < self.frozen { block.freeze() } else { block }).collect();
        Ok(self)
    }

    /// True if the tensor called `name` (see [`BnInceptionConfig::tensors`]) belongs to the frozen part.
    pub fn is_frozen(&self, name: &str) -> bool {
        let block = name.split('.').next().unwrap_or_default();
        let end_points = self.config.end_points();
        end_points.iter().take(self.frozen).any(|end_point| *end_point == block)
    }

    /// Logits of a batch of normalised images.
    ///
    /// # Shapes
    /// `[N, 3, H, W]` → `[N, classes]`; H and W at least [`BnInceptionConfig::smallest_input`].
    ///
    /// # Panics
    /// If the images have another number of channels or are smaller than that.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let statistics = Statistics::of(&images);
        self.forward_with(images, statistics)
    }

    pub(crate) fn forward_with(&self, images: Tensor<4>, statistics: Statistics) -> Tensor<2> {
        self.classifier.classify(self.pooled(images, statistics))
    }

    /// Means of the channels of block 5b's output: `[N, 3, H, W]` → `[N, channels]`.
    fn pooled(&self, images: Tensor<4>, statistics: Statistics) -> Tensor<2> {
        let frozen = self.frozen_in(statistics);
        let (start, x) = match (frozen, &self.stem.lrn) {
            (0, None) => (0, images),
            // Local response normalisation ends a segment.
            (0, Some(_)) => (1, self.stem.apply(images, statistics).1),
            _ => (frozen, self.frozen_output(images.without_autodiff(), frozen).autodiff()),
        };
        let blocks = || self.blocks.iter().skip(start.max(1) - 1);
        let parameters = || match start {
            0 => self.stem_and_blocks(statistics),
            _ => blocks().flat_map(|block| block.parameters(statistics)).collect(),
        };
        if let Some(pooled) = self.segments[start].run(&x, parameters) {
            return pooled;
        }
        let x = if start == 0 { self.stem.apply(x, statistics).1 } else { x };
        pool::global_average(blocks().fold(x, |x, block| block.apply(x, statistics)))
    }

    /// The CPU engine that computes training steps on a CPU device, unless frozen parts or local response normalisation
    /// divide the network; it reports threads, instruction set and memory.
    ///
    /// # Panics
    /// If `BN_INCEPTION_ISA` names an instruction set that the processor lacks.
    pub fn trainer(&self) -> Option<&Arc<Trainer>> {
        let on_cpu = is_cpu(&self.classifier.weight.lazy_device().inner());
        self.segments[0].trainer().filter(|_| on_cpu && self.frozen == 0)
    }

    /// Time of each step of the [`trainer`](Self::trainer)'s forward and backward pass for a batch `[N, 3, H, W]`, on the
    /// calling thread.
    ///
    /// # Panics
    /// If the images have another number of channels or are too small.
    pub fn profile_training(&self, images: Tensor<4>) -> Option<Vec<LayerTime>> {
        self.trainer()?;
        self.segments[0].profile(images, self.stem_and_blocks(Statistics::Batch))
    }

    /// Parameters of the convolutions that are not frozen, in training and in forward order.
    pub(crate) fn parameters_in_training(&self) -> Vec<Parameters<'_>> {
        let statistics = Statistics::Batch;
        match self.frozen {
            0 => self.stem_and_blocks(statistics),
            frozen => self.blocks[frozen - 1..].iter().flat_map(|block| block.parameters(statistics)).collect(),
        }
    }

    fn stem_and_blocks(&self, statistics: Statistics) -> Vec<Parameters<'_>> {
        let blocks = self.blocks.iter().flat_map(|block| block.parameters(statistics));
        self.stem.parameters(statistics).into_iter().chain(blocks).collect()
    }

    /// Every named end point of a batch of normalised images, for fine-tuning and detection.
    ///
    /// # Shapes
    /// `[N, 3, H, W]` → each `[N, C, H', W']`.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn features(&self, images: Tensor<4>) -> Features {
        let statistics = Statistics::of(&images);
        let mut end_points = Vec::with_capacity(12);
        self.trunk(images, statistics, |name, x| end_points.push((name, x.clone())));
        Features(end_points)
    }

    /// Inputs of the non-linearities of some layers: the first convolution and the first of each block, with the
    /// layers' names (`stem.conv1`, `3a.conv_1x1`, `3c.reduce_3x3` …) in forward order. Batch normalisation uses the
    /// running statistics on any device, and leaves them unchanged.
    ///
    /// # Shapes
    /// `[N, 3, H, W]` → each `[N, C, H', W']`.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn pre_activations(&self, images: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        let statistics = Statistics::Running;
        let mut found = vec![self.stem.pre_activation(images.clone(), statistics)];
        let mut blocks = self.blocks.iter();
        self.trunk(images, statistics, |end_point, x| {
            if end_point != "pool1"
                && let Some(block) = blocks.next()
            {
                found.push(block.pre_activation(x.clone(), statistics));
            }
        });
        found
    }

    fn trunk(
        &self,
        images: Tensor<4>,
        statistics: Statistics,
        mut visit: impl FnMut(&'static str, &Tensor<4>),
    ) -> Tensor<4> {
        let frozen = self.frozen_in(statistics);
        let mut x = if frozen > 0 {
            let images = images.without_autodiff();
            self.visit_inference(images, frozen, |name, x| visit(name, &x.clone().autodiff())).autodiff()
        } else {
            let (pool1, x) = self.stem.apply(images, statistics);
            if let Some(pool1) = pool1 {
                visit("pool1", &pool1);
            }
            visit("stem", &x);
            x
        };
        for block in self.blocks.iter().skip(frozen.max(1) - 1) {
            x = block.apply(x, statistics);
            visit(block.name(), &x);
        }
        x
    }

    /// Number of end points that are frozen in a pass with these statistics.
    fn frozen_in(&self, statistics: Statistics) -> usize {
        match statistics {
            Statistics::Batch | Statistics::Replace => self.frozen,
            Statistics::Running | Statistics::Population { .. } => 0,
        }
    }

    /// Output of the first `frozen` end points, at least one. They need no graph: they run as in inference, folded where
    /// the CPU engine serves them, and the graph starts after them.
    fn frozen_output(&self, images: Tensor<4>, frozen: usize) -> Tensor<4> {
        let end_points = self.config.end_points();
        let tensors = || {
            let mut found = Vec::new();
            state::flatten(&self.stem, end_points[0], &mut found);
            for block in &self.blocks[..frozen - 1] {
                state::flatten(block, block.name(), &mut found);
            }
            found
        };
        let output = self.frozen_part.run(&images, &self.config, end_points[frozen - 1], tensors);
        output.unwrap_or_else(|| self.inference_through(images, frozen))
    }

    /// Output of the first `count` end points, at least one, as in inference, for images on the plain device.
    pub(crate) fn inference_through(&self, images: Tensor<4>, count: usize) -> Tensor<4> {
        self.visit_inference(images, count, |_, _| ())
    }

    fn visit_inference(
        &self,
        images: Tensor<4>,
        count: usize,
        mut visit: impl FnMut(&'static str, &Tensor<4>),
    ) -> Tensor<4> {
        let (pool1, mut x) = self.stem.valid().apply(images, Statistics::Running);
        if let Some(pool1) = pool1 {
            visit("pool1", &pool1);
        }
        visit("stem", &x);
        for block in self.blocks.iter().take(count - 1) {
            x = block.valid().apply(x, Statistics::Running);
            visit(block.name(), &x);
        }
        x
    }

    /// The paper's Algorithm 2: a copy of this network with the population's statistics for batch normalisation, which
    /// are the plain means over `batches` of batch mean and unbiased batch variance. The batches, `[N, 3, H, W]` on any
    /// device, should be training images of the size trained with; the copy is an inference model.
    ///
    /// Without batches the statistics stay as they are.
    pub fn recalibrate(&self, batches: impl IntoIterator<Item = Tensor<4>>) -> Self {
        let model = self.valid();
        for (k, batch) in batches.into_iter().enumerate() {
            let weight = 1.0 / (k + 1) as f64;
            let batch = batch.without_autodiff();
            model.pooled(batch, Statistics::Population { weight });
        }
        model
    }

    /// Every parameter and running statistic, copied to the host.
    pub fn state(&self) -> State {
        state::collect(self)
    }

    /// This network with every tensor replaced by the one of the same name in `state`; frozen parts stay frozen.
    /// Running statistics are shared between clones of a model, so clones see the new ones too; [`Module::valid`]
    /// makes an independent copy.
    ///
    /// # Errors
    /// [`StateError`] if names, shapes or element types do not match exactly; the model is then dropped unchanged.
    pub fn load_state(self, state: State) -> Result<Self, StateError> {
        state::check(&self.config.tensors(), &state)?;
        Ok(state::fill(self, state))
    }

    /// Shapes, parameters and multiply-adds of every block for square inputs of `input_size` pixels.
    pub fn summary(&self, input_size: usize) -> ModelSummary {
        self.config.summary(input_size)
    }
}

impl ModuleDisplay for Model {
    fn custom_content(&self, content: Content) -> Option<Content> {
        let summary = self.summary(self.config.input_size);
        content.add_formatted(&summary).optional()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
