//! Differences between a file and the network that was asked for.

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

/// Mismatch of a file and the network that was asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// Tensors are missing, too many or of the wrong shape.
    #[error("{format} read by {source_name} is not this network: {}", sentence([
        list("missing", .missing), list("unused", .unused), shapes_text(.shapes), fitting_text(.fitting)]))]
    Tensors {
        /// The file's format.
        format: Format,
        /// Naming by which its tensors were told apart.
        source_name: &'static str,
        /// The network needs them, the file lacks them: the file's names.
        missing: Vec<String>,
        /// In the file, but not in the network.
        unused: Vec<String>,
        /// In both, with different shapes.
        shapes: Vec<WrongShape>,
        /// Presets into which the whole file would fit.
        fitting: Vec<Preset>,
    },
    /// An ONNX graph that is not this network's.
    #[error("ONNX graph: {reason}")]
    Graph {
        /// Part of the graph that does not fit.
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
    /// The last layer has another number of classes than it should.
    #[error("the file has {found} classes, expected {expected}; say so if {found} is meant (`--classes {found}`)")]
    Classes {
        /// Number in the file.
        found: usize,
        /// Number asked for.
        expected: usize,
    },
    /// The configuration describes no network.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

impl ImportError {
    /// An ONNX graph that is not this network's, for this reason.
    pub(super) fn graph(reason: impl Into<String>) -> Self {
        Self::Graph { reason: reason.into() }
    }
}

fn shapes_text(shapes: &[WrongShape]) -> String {
    let shown = shapes
        .iter()
        .map(|WrongShape { key, expected, found }| format!("{key} {found:?} instead of {expected:?}"));
    list("wrong shape", &shown.collect::<Vec<_>>())
}

fn fitting_text(presets: &[Preset]) -> String {
    let names: Vec<_> = presets.iter().map(|preset| preset.name()).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("it fits preset {}", names.join(" or ")),
    }
}
