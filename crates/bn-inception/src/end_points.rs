//! End points: the outputs of stem and blocks, by name.

use burn::tensor::Tensor;

use crate::config::BnInceptionConfig;
use crate::plan::BLOCK_NAMES;

/// Name of the last layer where it is an end point of pooled features.
pub(crate) const CLASSIFIER: &str = "classifier";

/// Unknown name of an end point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown end point `{name}`, expected one of: {}", known.join(", "))]
pub struct UnknownEndPoint {
    /// The name given.
    pub name: String,
    /// The network's end points, in forward order.
    pub known: Vec<&'static str>,
}

impl BnInceptionConfig {
    /// End points that every network has and can be frozen up to, in forward order: `stem`, `3a` … `5b`.
    pub fn end_points(&self) -> Vec<&'static str> {
        std::iter::once("stem").chain(BLOCK_NAMES).collect()
    }

    /// Number of [`Self::end_points`] up to and including `name`.
    ///
    /// # Errors
    /// [`UnknownEndPoint`] with the known names, if `name` is not one of them.
    pub fn count_through(&self, name: &str) -> Result<usize, UnknownEndPoint> {
        let known = self.end_points();
        match known.iter().position(|end_point| *end_point == name) {
            Some(index) => Ok(index + 1),
            None => Err(UnknownEndPoint { name: name.to_owned(), known }),
        }
    }

    /// Length of the vector at an end point of pooled features: one of [`Self::end_points`], whose channels are pooled, or
    /// `classifier`, the last layer.
    ///
    /// # Errors
    /// [`UnknownEndPoint`] with the known names, if `name` is not one of them.
    pub fn pooled_end_point(&self, name: &str) -> Result<usize, UnknownEndPoint> {
        let layers = self.layers();
        match layers.iter().rfind(|layer| layer.block == name) {
            Some(layer) => Ok(layer.channels),
            None => {
                let known = self.end_points().into_iter().chain([CLASSIFIER]).collect();
                Err(UnknownEndPoint { name: name.to_owned(), known })
            }
        }
    }
}

/// The named end points of one forward pass, each `[N, C, H, W]`, in forward order.
#[derive(Debug, Clone)]
pub struct Features(pub(crate) Vec<(&'static str, Tensor<4>)>);

impl Features {
    /// The end point called `name`: `pool1` (if the stem has one), `stem`, `3a`, `3b`, `3c`, `4a` … `5b`.
    pub fn get(&self, name: &str) -> Option<&Tensor<4>> {
        let found = self.0.iter().find(|(end_point, _)| *end_point == name);
        found.map(|(_, tensor)| tensor)
    }

    /// All end points with their names, in forward order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Tensor<4>)> {
        self.0.iter().map(|(name, tensor)| (*name, tensor))
    }
}
