//! The inception block (Figure 5, rows 3a to 5b).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::batch_norm::Statistics;
use crate::config::{BnInceptionConfig, MaxPooling};
use crate::conv::{ConvUnit, UnitPlan};
use crate::plan::{BlockPlan, PoolBranch};
use crate::pool;
use crate::summary::Extent;

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
}

impl InceptionBlock {
    /// A block reading `in_channels`; returns it with its number of output channels.
    pub(crate) fn init(
        plan: BlockPlan,
        in_channels: usize,
        config: &BnInceptionConfig,
        device: &Device,
    ) -> (Self, usize) {
        let unit = |from, to, kernel, stride| {
            (to > 0).then(|| {
                let plan = UnitPlan::new(from, to, kernel).with_stride(stride);
                plan.init(config, device)
            })
        };
        let reduced = |reduce| if reduce > 0 { reduce } else { in_channels };
        let conv_3x3 = UnitPlan::new(reduced(plan.reduce_3x3), plan.conv_3x3, 3);
        let double = plan.conv_double;
        let projection = match plan.pool {
            PoolBranch::Average(channels) | PoolBranch::Max(channels) => channels,
            PoolBranch::MaxPassThrough | PoolBranch::Absent => 0,
        };
        let block = Self {
            conv_1x1: unit(in_channels, plan.conv_1x1, 1, 1),
            reduce_3x3: unit(in_channels, plan.reduce_3x3, 1, 1),
            conv_3x3: conv_3x3.with_stride(plan.stride).init(config, device),
            reduce_double: unit(in_channels, plan.reduce_double, 1, 1),
            conv_double_1: unit(reduced(plan.reduce_double), double, 3, 1),
            conv_double_2: unit(double, double, 3, plan.stride),
            pool_projection: unit(in_channels, projection, 1, 1),
            plan,
            max_pooling: config.block_pooling,
            average_includes_padding: config.average_includes_padding,
        };
        (block, plan.out_channels(in_channels))
    }

    /// `[N, in_channels, H, W]` → `[N, out_channels, H / stride, W / stride]`.
    pub(crate) fn forward(&self, x: Tensor<4>, statistics: Statistics) -> Tensor<4> {
        let chain = |units: &[&Option<ConvUnit>], x: Tensor<4>| {
            let present = units.iter().filter_map(|unit| unit.as_ref());
            present.fold(x, |x, unit| unit.forward(x, statistics))
        };
        let mut branches = Vec::with_capacity(4);
        if self.conv_1x1.is_some() {
            branches.push(chain(&[&self.conv_1x1], x.clone()));
        }
        let reduced = chain(&[&self.reduce_3x3], x.clone());
        branches.push(self.conv_3x3.forward(reduced, statistics));
        if self.conv_double_1.is_some() {
            let double = [
                &self.reduce_double,
                &self.conv_double_1,
                &self.conv_double_2,
            ];
            branches.push(chain(&double, x.clone()));
        }
        let pooled = match self.plan.pool {
            PoolBranch::Average(_) => Some(pool::average(x, self.average_includes_padding)),
            PoolBranch::Max(_) | PoolBranch::MaxPassThrough => {
                let stride = self.plan.stride;
                Some(pool::max(x, stride, |size| {
                    self.max_pooling.of_block(size, stride)
                }))
            }
            PoolBranch::Absent => None,
        };
        if let Some(pooled) = pooled {
            branches.push(chain(&[&self.pool_projection], pooled));
        }
        Tensor::cat(branches, 1)
    }

    /// What the non-linearity of the block's first convolution gets, with the layer's name. The first is the
    /// first of `conv_1x1`, `reduce_3x3` and `conv_3x3` that the block has; it reads the block's input.
    pub(crate) fn pre_activation(
        &self,
        x: Tensor<4>,
        statistics: Statistics,
    ) -> (String, Tensor<4>) {
        let (name, unit) = match (&self.conv_1x1, &self.reduce_3x3) {
            (Some(unit), _) => ("conv_1x1", unit),
            (None, Some(unit)) => ("reduce_3x3", unit),
            (None, None) => ("conv_3x3", &self.conv_3x3),
        };
        let name = format!("{}.{name}", self.name());
        (name, unit.pre_activation(x, statistics))
    }

    /// The paper's name of the block.
    pub fn name(&self) -> &'static str {
        self.plan.name
    }

    /// Follows `extent` through the block, counting multiply-adds.
    pub(crate) fn trace(&self, extent: &mut Extent) {
        let input = *extent;
        let branches: [&[&Option<ConvUnit>]; 3] = [
            &[&self.conv_1x1],
            &[
                &self.reduce_double,
                &self.conv_double_1,
                &self.conv_double_2,
            ],
            &[&self.pool_projection],
        ];
        let mut multiply_adds = extent.multiply_adds;
        for units in branches {
            let mut branch = Extent {
                multiply_adds: 0,
                ..input
            };
            for unit in units.iter().filter_map(|unit| unit.as_ref()) {
                branch.convolve(unit);
            }
            multiply_adds += branch.multiply_adds;
        }
        if let Some(reduce) = &self.reduce_3x3 {
            extent.convolve(reduce);
        }
        extent.convolve(&self.conv_3x3);
        let own = extent.multiply_adds - input.multiply_adds;
        extent.multiply_adds = multiply_adds + own;
        extent.channels = self.plan.out_channels(input.channels);
    }
}
