//! Errors of the dashboard.

use std::io;
use std::path::PathBuf;

/// Error of [`Dashboard::open`](crate::Dashboard::open) or [`export`](crate::export()).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// A folder without a run.
    #[error("no run in {}: expected run.jsonl in it or in a folder in it", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },
    /// A log without a record.
    #[error("no run in {}: no line of run.jsonl is one of a run's log", folder.display())]
    NoRecord {
        /// Folder of the log.
        folder: PathBuf,
    },
    /// An address that cannot be parsed or resolved.
    #[error("cannot listen on {address}: expected HOST:PORT, such as 127.0.0.1:8015 ({reason})")]
    Address {
        /// The address given.
        address: String,
        /// The problem with it.
        reason: String,
    },
    /// An address that cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address given.
        address: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// An address that other machines can reach, without a token.
    #[error(
        "{address} can be reached from other machines: give a token that they have to know, \
         or listen on 127.0.0.1"
    )]
    NeedsToken {
        /// The address given.
        address: String,
    },
    /// A token that cannot go into a header, or is guessed too easily.
    #[error("a token has {least} to 128 letters, digits and -._~, not {found} characters like these")]
    Token {
        /// Fewest characters accepted.
        least: usize,
        /// Number of characters given.
        found: usize,
    },
    /// The operating system refuses a thread or an event loop.
    #[error("cannot start the dashboard: {0}")]
    Start(io::Error),
    /// A report that cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Path of the report.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl DashboardError {
    /// True if an address or token is wrong in itself, whatever runs there are.
    #[must_use]
    pub fn is_argument(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::NeedsToken { .. } | Self::Token { .. })
    }
}
