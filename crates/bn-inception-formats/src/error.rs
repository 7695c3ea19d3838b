//! Errors of the readers.

use crate::format::Format;

/// Error of [`read`](crate::read()). The message is one line and does not name the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file has none of the formats.
    #[error("not a weight file: {found}")]
    Unrecognized {
        /// Kind of file it seems to be.
        found: String,
    },
    /// The file has a known format and is damaged or unsuitable.
    #[error("{format}: {problem}")]
    Broken {
        /// Format recognised by the first bytes.
        format: Format,
        /// Fault found.
        problem: Problem,
    },
}

/// Fault of a file of a known format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file ends before it should.
    #[error("cut short: {what} needs {needed} bytes, {available} are left")]
    CutShort {
        /// Part that was being read.
        what: &'static str,
        /// Length of the part in bytes.
        needed: u64,
        /// Bytes left in the file.
        available: u64,
    },
    /// The bytes do not follow the format.
    #[error("{0}")]
    Malformed(String),
    /// A number is larger than any weight file needs; see [`limits`](crate::limits).
    #[error("{what} is {found}, at most {limit} is accepted")]
    Limit {
        /// Quantity that is limited.
        what: &'static str,
        /// Number in the file.
        found: u64,
        /// Largest number accepted.
        limit: u64,
    },
    /// A pickle refers to a Python object that no state dict needs. Nothing of it was run.
    #[error("the pickle refers to `{name}`, which is not part of a state dict")]
    ForbiddenGlobal {
        /// Module and name, joined by a dot.
        name: String,
    },
    /// A pickle holds modules: a program together with its weights. Nothing of it was run.
    #[error(
        "a pickled model (`{class}`), which is a program: load it in PyTorch and save `model.state_dict()` instead"
    )]
    PickledModule {
        /// Its class: module and name, joined by a dot.
        class: String,
    },
    /// A TorchScript archive: a program together with its weights. Nothing of it was run.
    #[error(
        "a TorchScript archive, which is a program: load it with `torch.jit.load` and save `model.state_dict()` instead"
    )]
    TorchScript,
    /// One tensor is unsuitable.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// Fault of the tensor.
        reason: String,
    },
}

impl Problem {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }

    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: shown(name), reason: reason.into() }
    }

    /// An error unless `found` is at most `limit`.
    pub(crate) fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), Self> {
        if found <= limit {
            return Ok(());
        }
        let (found, limit) = (found as u64, limit as u64);
        Err(Self::Limit { what, found, limit })
    }
}

/// Text from a file in a form fit for an error message: printable and short.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.escape_debug().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}
