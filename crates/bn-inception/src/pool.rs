//! The network's pools.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::ops::{self, PoolGeometry};

/// Global pooling: a feature map's pixels as one vector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Means of the channels, as before the network's own classifier.
    #[default]
    Average,
    /// Maxima of the channels, as Multi-Similarity and XBM embed.
    Max,
    /// Sums of both, as Proxy-Anchor embeds.
    Sum,
}

/// No pooling has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown pooling `{0}`, expected one of: average, max, sum")]
pub struct UnknownPooling(
    /// The name given.
    pub String,
);

impl Pooling {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Average, Self::Max, Self::Sum];

    /// `average`, `max` or `sum`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Max => "max",
            Self::Sum => "sum",
        }
    }

    /// `[N, C, H, W]` → `[N, C]`
    pub(crate) fn of(self, map: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Average => global_average(map),
            Self::Max => global_max(map),
            Self::Sum => global_average(map.clone()) + global_max(map),
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pooling {
    type Err = UnknownPooling;

    fn from_str(name: &str) -> Result<Self, UnknownPooling> {
        let found = Self::ALL.into_iter().find(|pooling| pooling.name() == name);
        found.ok_or_else(|| UnknownPooling(name.to_owned()))
    }
}

/// 3x3 max pool; padding is never the maximum. `padding` maps a height or width to its padding. `[N, C, H, W]` → `[N,
/// C, H', W']`.
pub(crate) fn max(x: Tensor<4>, stride: usize, padding: impl Fn(usize) -> (usize, usize)) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let padding = [padding(height), padding(width)];
    ops::max_pool2d(x, PoolGeometry { stride, padding })
}

/// 3x3/1 average pool, padded with one pixel of zeros. `[N, C, H, W]` → the same.
pub(crate) fn average(x: Tensor<4>, includes_padding: bool) -> Tensor<4> {
    let geometry = PoolGeometry { stride: 1, padding: [(1, 1); 2] };
    ops::avg_pool2d(x, geometry, includes_padding)
}

/// Mean over all pixels. `[N, C, H, W]` → `[N, C]`.
pub(crate) fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c])
}

/// Maximum over all pixels. `[N, C, H, W]` → `[N, C]`.
fn global_max(x: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).max_dim(2).reshape([n, c])
}
