//! ONNX graphs: the parameter that each tensor is, determined by the graph alone.
//!
//! Names in ONNX files are arbitrary (`onnx::Conv_728`). The walk goes from the classifier back to the image and
//! recognises a layer by its position: a block ends in a `Concat`, whose inputs are the branches in the order 1x1, 3x3,
//! double 3x3, pool. Properties that the graph states itself (ε, pools, folded or not) override the caller's
//! configuration.

mod parameters;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Archive, Array, Node};

use crate::config::{BnInceptionConfig, MaxPooling, Normalization};
use crate::weights::import::error::ImportError;
use parameters::uses;
use walk::{Graph, Network};

/// The tensors of an ONNX file by our names, with the file's names, and the configuration that the graph states.
pub(super) struct Mapped {
    pub(super) tensors: BTreeMap<String, Array>,
    /// Our names → the file's.
    pub(super) origins: BTreeMap<String, String>,
    pub(super) config: BnInceptionConfig,
}

/// Maps the tensors of `archive`, an ONNX model of the network that `config` describes.
pub(super) fn map(archive: Archive, config: &BnInceptionConfig) -> Result<Mapped, ImportError> {
    let graph = Graph::new(&archive);
    let network = graph.network(config)?;
    let config = described(config, &network)?;
    let parameters = graph.parameters(&network)?;
    let structural: BTreeSet<_> = graph.structural().into_iter().map(str::to_owned).collect();
    let Archive { tensors: mut file, .. } = archive;
    // Weights are moved, not copied, unless two layers share them.
    let mut uses = uses(&parameters);
    let (mut tensors, mut origins) = (BTreeMap::new(), BTreeMap::new());
    for parameter in parameters {
        let array = parameter.values(|name| {
            let left = uses.get_mut(name).expect("every tensor's uses are counted");
            *left -= 1;
            match *left {
                0 => file.remove(name),
                _ => file.get(name).cloned(),
            }
            .expect("names come from the file's own tensors")
        })?;
        origins.insert(parameter.name.clone(), parameter.origin);
        tensors.insert(parameter.name, array);
    }
    // Tensors left over belong to no layer, and are reported by name.
    file.retain(|name, _| !structural.contains(name));
    origins.extend(file.keys().map(|name| (name.clone(), name.clone())));
    tensors.extend(file);
    Ok(Mapped { tensors, origins, config })
}

/// The configuration with every property that the graph states itself.
fn described(config: &BnInceptionConfig, network: &Network<'_>) -> Result<BnInceptionConfig, ImportError> {
    let mut config = config.clone();
    let bare = network.units.iter().filter(|(_, unit)| unit.norm.is_none());
    let bare: Vec<_> = bare.map(|(name, _)| name.as_str()).collect();
    if bare.len() == network.units.len() {
        config.normalization = Normalization::Folded;
    } else if let (Normalization::Batch { momentum, .. }, Some(epsilon)) = (config.normalization, network.epsilon()) {
        config.normalization = Normalization::Batch { epsilon, momentum, scale: true };
    }
    if let Some(include) = network.average_includes_padding() {
        config.average_includes_padding = include;
    }
    for (pooling, pools) in
        [(&mut config.stem_pooling, &network.stem_pools), (&mut config.block_pooling, &network.block_pools)]
    {
        for pool in pools {
            *pooling = max_pooling(pool)?;
        }
    }
    Ok(config)
}

/// Position of the windows of a 3x3/2 max pool. On even sizes, padding one pixel at the end and rounding up give the
/// same windows; on odd sizes, they only add a window of pure padding, which the formats forbid.
fn max_pooling(pool: &Node) -> Result<MaxPooling, ImportError> {
    let ceil = pool.integers.get("ceil_mode").is_some_and(|mode| mode == &[1]);
    let pads = pool.integers.get("pads").map_or(&[0; 4][..], Vec::as_slice);
    match (pool.texts.get("auto_pad").map(String::as_str), pads, ceil) {
        (Some("SAME_UPPER"), ..) => Ok(MaxPooling::Same),
        (None | Some("NOTSET" | "VALID"), [0, 0, 0, 0], true) => Ok(MaxPooling::Ceil),
        (None | Some("NOTSET"), [0, 0, 1, 1], _) => Ok(MaxPooling::Ceil),
        (None | Some("NOTSET" | "VALID"), [0, 0, 0, 0], false) => Ok(MaxPooling::Floor),
        (None | Some("NOTSET"), [1, 1, 1, 1], false) => Ok(MaxPooling::FloorPadded),
        (auto, pads, _) => Err(ImportError::graph(format!(
            "max pool `{}` has pads {pads:?} and auto_pad {auto:?}, which no configuration has",
            pool.name
        ))),
    }
}

impl Network<'_> {
    /// ε, if all layers have the same.
    fn epsilon(&self) -> Option<f64> {
        let norms = self.units.iter().filter_map(|(_, unit)| unit.norm);
        let mut found = norms.map(|norm| norm.floats.get("epsilon").copied().unwrap_or(1e-5));
        let first = found.next()?;
        // The shortest decimal that is this f32: 1e-5, not 9.99999974e-6.
        found.all(|epsilon| epsilon == first).then(|| first.to_string().parse().ok())?
    }

    fn average_includes_padding(&self) -> Option<bool> {
        let pool = self.average_pools.first()?;
        Some(pool.integers.get("count_include_pad").is_some_and(|mode| mode == &[1]))
    }
}
