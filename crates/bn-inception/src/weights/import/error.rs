//! Mismatches between a file and the requested network.

use bn_inception_formats::Format;

use crate::config::ConfigError;
use crate::preset::Preset;
use crate::state::{list, sentence};

/// A tensor whose shape is not the network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongShape {
    /// The file's name of the tensor.
    pub key: String,
    /// The network's shape.
    pub expected: Vec<usize>,
    /// The file's shape.
    pub found: Vec<usize>,
}

/// Mismatch between a file and the requested network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// Tensors are missing, unused or of the wrong shape.
    #[error("{format} read by {source_name} is not this network: {}", sentence([
        list("missing", .missing), list("unused", .unused), shapes_text(.shapes), fitting_text(.fitting)]))]
    Tensors {
        /// The file's format.
        format: Format,
        /// Naming by which its tensors were recognised.
        source_name: &'static str,
        /// Tensors of the network that the file lacks, by the file's names.
        missing: Vec<String>,
        /// Tensors of the file that the network does not have.
        unused: Vec<String>,
        /// Tensors in both, with different shapes.
        shapes: Vec<WrongShape>,
        /// Presets that the whole file would fit.
        fitting: Vec<Preset>,
    },
    /// The network, but with layers beside it that nothing was said about.
    #[error("{format} read by {source_name} has layers beside this network: {}", sentence([
        list("missing", .missing), list("unused", .unused), beside_text(.layer, .missing)]))]
    Layers {
        /// The file's format.
        format: Format,
        /// Naming by which its tensors were recognised.
        source_name: &'static str,
        /// Tensors of the last layer, if the file has none of a usual name.
        missing: Vec<String>,
        /// Tensors of the file that the network does not have.
        unused: Vec<String>,
        /// One of the layers that they belong to.
        layer: String,
    },
    /// The names belong to another preset than the caller's, with tensors of the same shapes.
    #[error("{source_name} are those of preset {expected}, not of {found}: leave out `--preset {found}`")]
    Preset {
        /// Naming by which the tensors were recognised.
        source_name: &'static str,
        /// The caller's preset.
        found: Preset,
        /// The preset that the names belong to.
        expected: Preset,
    },
    /// The names do not tell the preset, and the caller did not either.
    #[error("{format} read by {source_name}, which several networks share: say which it is (`--preset`)")]
    PresetUnknown {
        /// The file's format.
        format: Format,
        /// Naming by which the tensors were recognised.
        source_name: &'static str,
    },
    /// The caller named a layer that the file does not have.
    #[error("no layer `{name}` in the file{}", list("; layers besides the network's:", .layers))]
    NoLayer {
        /// The caller's name.
        name: String,
        /// Layers besides the network's that could be the last one.
        layers: Vec<String>,
    },
    /// An ONNX graph that is not this network's.
    #[error("ONNX graph: {reason}")]
    Graph {
        /// The mismatch.
        reason: String,
    },
    /// None of the names is known.
    #[error("{format} with {count} tensors, none of which has a name known here{}", list(":", .names))]
    UnknownNames {
        /// The file's format.
        format: Format,
        /// Number of tensors in the file.
        count: usize,
        /// Their names.
        names: Vec<String>,
    },
    /// The last layer has an unexpected number of classes.
    #[error("the file has {found} classes, expected {expected}; say so if {found} is meant (`--classes {found}`)")]
    Classes {
        /// Number in the file.
        found: usize,
        /// Number expected.
        expected: usize,
    },
    /// The configuration describes no network.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

impl ImportError {
    /// An ONNX graph that is not this network's, with the reason.
    pub(super) fn graph(reason: impl Into<String>) -> Self {
        Self::Graph { reason: reason.into() }
    }
}

fn shapes_text(shapes: &[WrongShape]) -> String {
    let shown =
        shapes.iter().map(|WrongShape { key, expected, found }| format!("{key} {found:?} instead of {expected:?}"));
    list("wrong shape", &shown.collect::<Vec<_>>())
}

fn beside_text(layer: &str, missing: &[String]) -> String {
    if missing.is_empty() {
        return format!("`--without {layer}` leaves a layer out");
    }
    format!("`--head {layer}` makes it the last layer, `--without {layer} --allow-missing fc` does without one")
}

fn fitting_text(presets: &[Preset]) -> String {
    let names: Vec<_> = presets.iter().map(|preset| preset.name()).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("it fits preset {}", names.join(" or ")),
    }
}
