//! Errors of weight files.

use std::path::{Path, PathBuf};

use bn_inception_fetch::FetchError;
use bn_inception_formats::{Format, ReadError};

use super::export::ExportError;
use super::import::ImportError;
use super::metadata::MetadataError;
use crate::folded::EngineError;
use crate::preset::Preset;
use crate::state::StateError;

/// Failure to open, assemble or write weights. The message names the file.
#[derive(Debug, thiserror::Error)]
#[error("{}{problem}", path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display())))]
pub struct WeightsError {
    path: Option<PathBuf>,
    problem: Box<WeightsProblem>,
}

impl WeightsError {
    /// `problem` with the file at `path`.
    pub fn of_file(path: &Path, problem: WeightsProblem) -> Self {
        Self::new(Some(path), problem)
    }

    pub(crate) fn new(path: Option<&Path>, problem: impl Into<WeightsProblem>) -> Self {
        Self { path: path.map(Path::to_owned), problem: Box::new(problem.into()) }
    }

    /// The file, or the name of the weights; `None` for weights that do not come from a file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The cause.
    pub fn problem(&self) -> &WeightsProblem {
        &self.problem
    }

    /// The cause, by value.
    pub fn into_problem(self) -> WeightsProblem {
        *self.problem
    }
}

/// The network and the pixels that the names of a file's tensors speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// Source of the names.
    pub names: &'static str,
    /// The network.
    pub preset: Preset,
    /// Name of the preprocessing of the published weights with these names. Descendants may have another.
    pub preprocess: &'static str,
}

fn wanted(proposal: Option<&Proposal>) -> String {
    match proposal {
        None => ": say which network and pixels it is for (`--preset` and `--preprocess`)".to_owned(),
        Some(Proposal { names, preset, preprocess }) => format!(
            " but with {names}, those of preset {preset}: say which pixels it is for (`--preprocess {preprocess}`, \
             unless it was trained with others)"
        ),
    }
}

/// A problem with a weight file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsProblem {
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is of no known format, truncated or damaged.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The tensors cannot be written.
    #[error("{0}")]
    Export(#[from] ExportError),
    /// The published file cannot be obtained.
    #[error("{0}")]
    Fetch(#[from] FetchError),
    /// The file was not written by this project, and the caller did not describe its content.
    #[error("{format} without configuration{}, here or once for all in `convert`", wanted(.proposal.as_ref()))]
    NoConfiguration {
        /// The file's format.
        format: Format,
        /// Network and pixels that its names tell, if they tell anything.
        proposal: Option<Proposal>,
    },
    /// The file was written by this project, but the caller described its content too.
    #[error(
        "says itself which network and pixels it is for: leave out `--preset`, `--preprocess` and what belongs to them"
    )]
    HasConfiguration,
    /// The tensors are not those of the network that the caller named.
    #[error("{0}")]
    Import(#[from] ImportError),
    /// The metadata describes no network.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// The file does not exist, and no weights have this name.
    #[error("no such file, and no weights of that name ({known})")]
    NotFound {
        /// The known names.
        known: String,
    },
    /// The weights are part of other builds.
    #[error("not part of this build, whose feature `embedded-weights` is off")]
    NotBuiltIn,
    /// The tensors are not those of the configuration.
    #[error("{0}")]
    State(#[from] StateError),
    /// The engine rejects the options.
    #[error("{0}")]
    Engine(#[from] EngineError),
}
