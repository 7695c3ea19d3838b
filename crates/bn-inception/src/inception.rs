//! The inception block (Figure 5, rows 3a to 5b).

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::batch_norm::Statistics;
use crate::config::{BnInceptionConfig, MaxPooling};
use crate::conv::ConvUnit;
use crate::layers::Layer;
use crate::plan::{BlockPlan, PoolBranch};
use crate::pool;
use crate::segment::{Parameters, Segment};

/// Up to four branches over one input, concatenated in the order 1x1, 3x3, double 3x3, pool.
#[derive(Module, Debug)]
pub struct InceptionBlock {
    /// The 1x1 branch.
    pub conv_1x1: Option<ConvUnit>,
    /// 1x1 reduction of the 3x3 branch.
    pub reduce_3x3: Option<ConvUnit>,
    /// 3x3 convolution.
    pub conv_3x3: ConvUnit,
    /// 1x1 reduction of the double 3x3 branch, which replaces GoogLeNet's 5x5.
    pub reduce_double: Option<ConvUnit>,
    /// First 3x3 convolution of the double branch.
    pub conv_double_1: Option<ConvUnit>,
    /// Second 3x3 convolution of the double branch.
    pub conv_double_2: Option<ConvUnit>,
    /// 1x1 projection of the pooled input.
    pub pool_projection: Option<ConvUnit>,
    #[module(skip)]
    plan: BlockPlan,
    #[module(skip)]
    max_pooling: MaxPooling,
    average_includes_padding: bool,
    /// The block for the CPU engine.
    #[module(skip)]
    segment: Arc<Segment>,
}

impl InceptionBlock {
    /// The block of `plan` in the network that `layers` describe, with zero weights.
    pub(crate) fn init(plan: BlockPlan, layers: &[Layer], config: &BnInceptionConfig, device: &Device) -> Self {
        let unit = |part: &str| ConvUnit::find(layers, &format!("{}.{part}", plan.name), config, device);
        let own = |layer: &Layer| layer.block == plan.name;
        let range = layers.iter().position(own).unwrap_or(0)..layers.iter().rposition(own).map_or(0, |last| last + 1);
        Self {
            conv_1x1: unit("conv_1x1"),
            reduce_3x3: unit("reduce_3x3"),
            conv_3x3: unit("conv_3x3").expect("every block has a 3x3 convolution"),
            reduce_double: unit("reduce_double"),
            conv_double_1: unit("conv_double_1"),
            conv_double_2: unit("conv_double_2"),
            pool_projection: unit("pool_projection"),
            plan,
            max_pooling: config.block_pooling,
            average_includes_padding: config.average_includes_padding,
            segment: Segment::new(config, layers, range),
        }
    }

    /// Concatenated output of the branches. Normalises with the batch's statistics on an autodiff device and with the
    /// running ones elsewhere.
    ///
    /// # Shapes
    /// `[N, in_channels, H, W]` → `[N, out_channels, H / stride, W / stride]`, rounded up
    ///
    /// # Panics
    /// If `x` has another number of channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let statistics = Statistics::of(&x);
        self.apply(x, statistics)
    }

    /// [`Self::forward`] with the given statistics.
    pub(crate) fn apply(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        match self.segment.run(&x, || self.parameters(statistics)) {
            Some(y) => y,
            None => self.branches(x, statistics),
        }
    }

    /// Parameters of the block's convolutions, in forward order.
    pub(crate) fn parameters(&self, statistics: Statistics) -> Vec<Parameters<'_>> {
        let units = [
            self.conv_1x1.as_ref(),
            self.reduce_3x3.as_ref(),
            Some(&self.conv_3x3),
            self.reduce_double.as_ref(),
            self.conv_double_1.as_ref(),
            self.conv_double_2.as_ref(),
            self.pool_projection.as_ref(),
        ];
        units.into_iter().flatten().map(|unit| unit.parameters(statistics)).collect()
    }

    /// The block by single operations.
    fn branches(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        let chain = |units: &[&Option<ConvUnit>], x: Tensor<4>| {
            let present = units.iter().filter_map(|unit| unit.as_ref());
            present.fold(x, |x, unit| unit.apply(x, statistics))
        };
        let mut branches = Vec::with_capacity(4);
        if self.conv_1x1.is_some() {
            branches.push(chain(&[&self.conv_1x1], x.clone()));
        }
        let reduced = chain(&[&self.reduce_3x3], x.clone());
        branches.push(self.conv_3x3.apply(reduced, statistics));
        if self.conv_double_1.is_some() {
            let double = [&self.reduce_double, &self.conv_double_1, &self.conv_double_2];
            branches.push(chain(&double, x.clone()));
        }
        let pooled = match self.plan.pool {
            PoolBranch::Average(_) => Some(pool::average(x, self.average_includes_padding)),
            PoolBranch::Max(_) | PoolBranch::MaxPassThrough => {
                let stride = self.plan.stride;
                Some(pool::max(x, stride, |size| self.max_pooling.of_block(size, stride)))
            }
            PoolBranch::Absent => None,
        };
        if let Some(pooled) = pooled {
            branches.push(chain(&[&self.pool_projection], pooled));
        }
        Tensor::cat(branches, 1)
    }

    /// Input of the non-linearity of the block's first convolution, with the layer's name. The first one is the first
    /// of `conv_1x1`, `reduce_3x3` and `conv_3x3` that the block has; it reads the block's input.
    pub(crate) fn pre_activation(&self, x: Tensor<4>, statistics: Statistics) -> (String, Tensor<4>) {
        let (name, unit) = match (&self.conv_1x1, &self.reduce_3x3) {
            (Some(unit), _) => ("conv_1x1", unit),
            (None, Some(unit)) => ("reduce_3x3", unit),
            (None, None) => ("conv_3x3", &self.conv_3x3),
        };
        let name = format!("{}.{name}", self.name());
        (name, unit.pre_activation(x, statistics))
    }

    /// The block's name in the paper.
    pub fn name(&self) -> &'static str {
        self.plan.name
    }
}
