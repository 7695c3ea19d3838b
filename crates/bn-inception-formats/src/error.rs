//! Why a file could not be read.

use crate::Format;

/// Why a file could not be read. The message is one line and does not name the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is something else than weights.
    #[error("not a weight file: {found}")]
    Unrecognized {
        /// What it seems to be.
        found: String,
    },
    /// It is of a known format, and wrong.
    #[error("{format}: {problem}")]
    Broken {
        /// The format, told by the first bytes.
        format: Format,
        /// What is wrong.
        problem: Problem,
    },
}

/// What can be wrong with a file of a known format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file ends too early.
    #[error("cut short: {what} needs {needed} bytes, {available} are left")]
    CutShort {
        /// What was being read.
        what: &'static str,
        /// Its length in bytes.
        needed: u64,
        /// What is left of the file, in bytes.
        available: u64,
    },
    /// The bytes do not follow the format.
    #[error("{0}")]
    Malformed(String),
    /// A number is larger than any weight file needs; see [`limits`](crate::limits).
    #[error("{what} is {found}, at most {limit} is accepted")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The number in the file.
        found: u64,
        /// The largest accepted.
        limit: u64,
    },
    /// A pickle refers to a Python object that no state dict needs. Nothing of it was run.
    #[error("the pickle refers to `{name}`, which is not part of a state dict")]
    ForbiddenGlobal {
        /// Module and name.
        name: String,
    },
    /// One tensor is wrong.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Problem {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }

    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            name: shown(name),
            reason: reason.into(),
        }
    }

    /// An error unless `found` is at most `limit`.
    pub(crate) fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), Self> {
        match found <= limit {
            true => Ok(()),
            false => Err(Self::Limit {
                what,
                found: found as u64,
                limit: limit as u64,
            }),
        }
    }
}

/// Text from a file, fit to be shown: printable and short.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.escape_debug().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}
