//! What can keep a dashboard from being shown.

use std::io;
use std::path::PathBuf;

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// A folder without a run.
    #[error("no run in {}: expected run.jsonl in it or in a folder in it", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },
    /// A log without anything that could be shown.
    #[error("no run in {}: no line of run.jsonl is one of a run's log", folder.display())]
    NoRecord {
        /// The folder.
        folder: PathBuf,
    },
    /// An address that is none, or of an unknown host.
    #[error("cannot listen on {address}: expected HOST:PORT, such as 127.0.0.1:8015 ({reason})")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address that cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// What was given.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// An address that others can reach, and nothing to keep them out.
    #[error(
        "{address} can be reached from other machines: give a token that they have to know, \
         or listen on 127.0.0.1"
    )]
    NeedsToken {
        /// What was given.
        address: String,
    },
    /// A token that cannot go into a header, or is guessed too easily.
    #[error(
        "a token has {least} to 128 letters, digits and -._~, not {found} characters like these"
    )]
    Token {
        /// Fewest characters accepted.
        least: usize,
        /// How many it has.
        found: usize,
    },
    /// The system gives no thread, or no event loop.
    #[error("cannot start the dashboard: {0}")]
    Start(io::Error),
    /// A report that could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
