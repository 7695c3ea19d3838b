//! A folded state as the plain numbers that the CPU engine runs, and back.

use bn_inception_kernels::infer::{Block, Conv, Linear, Network, Placement, Pool, Stem};
use burn::tensor::TensorData;

use crate::config::BnInceptionConfig;
use crate::fold::values;
use crate::plan::{PoolBranch, StemPlan};
use crate::state::State;

/// The engine's description of a network. `state` must be folded and fit `config`.
pub(crate) fn to_network(config: &BnInceptionConfig, mut state: State) -> Network {
    let mut take = |name: &str| conv(&mut state, name);
    let strided = |kernel: usize| placement(|size| config.strided_padding.of_conv(size, kernel, 2));
    let stem = match config.plan.stem() {
        StemPlan::Small(_) => Stem::Small(take("stem.conv1")),
        StemPlan::ImageNet(_) => Stem::ImageNet {
            conv1: take("stem.conv1"),
            padding: strided(7),
            pool: placement(|size| config.stem_pooling.of_stem(size)),
            reduce: take("stem.conv2_reduce"),
            conv2: take("stem.conv2"),
        },
    };
    let blocks = config.blocks().into_iter().map(|plan| {
        let mut unit = |part: &str| take(&format!("{}.{part}", plan.name));
        Block {
            name: plan.name.to_owned(),
            stride: plan.stride,
            conv_1x1: (plan.conv_1x1 > 0).then(|| unit("conv_1x1")),
            reduce_3x3: (plan.reduce_3x3 > 0).then(|| unit("reduce_3x3")),
            conv_3x3: unit("conv_3x3"),
            reduce_double: (plan.reduce_double > 0).then(|| unit("reduce_double")),
            conv_double: (plan.conv_double > 0)
                .then(|| [unit("conv_double_1"), unit("conv_double_2")]),
            pool: match plan.pool {
                PoolBranch::Average(_) => Pool::Average(unit("pool_projection")),
                PoolBranch::Max(_) => Pool::Max(unit("pool_projection")),
                PoolBranch::MaxPassThrough => Pool::MaxPassThrough,
                PoolBranch::Absent => Pool::Absent,
            },
        }
    });
    Network {
        blocks: blocks.collect(),
        stem,
        block_padding: strided(3),
        block_pool: placement(|size| config.block_pooling.of_block(size, 2)),
        average_includes_padding: config.average_includes_padding,
        classifier: Linear {
            weight: state
                .remove("classifier.weight")
                .map(values)
                .unwrap_or_default(),
            bias: state
                .remove("classifier.bias")
                .map(values)
                .unwrap_or_default(),
        },
    }
}

/// The state that [`to_network`] made `network` from.
pub(crate) fn to_state(network: &Network) -> State {
    let mut state = State::new();
    let mut put = |name: String, conv: &Conv| {
        let shape = [
            conv.out_channels,
            conv.in_channels,
            conv.kernel,
            conv.kernel,
        ];
        let weight = TensorData::new(conv.weight.clone(), shape);
        state.insert(format!("{name}.weight"), weight);
        let bias = TensorData::new(conv.bias.clone(), [conv.out_channels]);
        state.insert(format!("{name}.bias"), bias);
    };
    match &network.stem {
        Stem::Small(conv) => put("stem.conv1".to_owned(), conv),
        Stem::ImageNet {
            conv1,
            reduce,
            conv2,
            ..
        } => {
            put("stem.conv1".to_owned(), conv1);
            put("stem.conv2_reduce".to_owned(), reduce);
            put("stem.conv2".to_owned(), conv2);
        }
    }
    for block in &network.blocks {
        let [first, second] = match &block.conv_double {
            Some([first, second]) => [Some(first), Some(second)],
            None => [None, None],
        };
        let projection = match &block.pool {
            Pool::Average(conv) | Pool::Max(conv) => Some(conv),
            Pool::Absent | Pool::MaxPassThrough => None,
        };
        for (part, conv) in [
            ("conv_1x1", block.conv_1x1.as_ref()),
            ("reduce_3x3", block.reduce_3x3.as_ref()),
            ("conv_3x3", Some(&block.conv_3x3)),
            ("reduce_double", block.reduce_double.as_ref()),
            ("conv_double_1", first),
            ("conv_double_2", second),
            ("pool_projection", projection),
        ] {
            if let Some(conv) = conv {
                put(format!("{}.{part}", block.name), conv);
            }
        }
    }
    let Linear { weight, bias } = &network.classifier;
    let shape = [bias.len(), weight.len() / bias.len().max(1)];
    let weight = TensorData::new(weight.clone(), shape);
    state.insert("classifier.weight".to_owned(), weight);
    let bias = TensorData::new(bias.clone(), [bias.len()]);
    state.insert("classifier.bias".to_owned(), bias);
    state
}

/// Takes a convolution out of the state; one that is absent has no channels, which the engine refuses.
fn conv(state: &mut State, name: &str) -> Conv {
    let weight = state.remove(&format!("{name}.weight"));
    let bias = state.remove(&format!("{name}.bias"));
    let shape = weight.as_ref().map(|data| data.shape().to_vec());
    let (out_channels, in_channels, kernel) = match shape.as_deref() {
        Some(&[out, into, kernel, _]) => (out, into, kernel),
        _ => (0, 0, 0),
    };
    Conv {
        weight: weight.map(values).unwrap_or_default(),
        bias: bias.map(values).unwrap_or_default(),
        in_channels,
        out_channels,
        kernel,
    }
}

/// Every rule of this project depends on a size's parity alone.
fn placement(padding: impl Fn(usize) -> (usize, usize)) -> Placement {
    Placement {
        even: padding(8),
        odd: padding(9),
    }
}
