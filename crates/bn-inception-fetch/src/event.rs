//! Events of downloads.

use std::time::Duration;

/// Events of a download, for people who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEvent {
    /// Another process is downloading the same file; this one waits for it.
    Waiting,
    /// Bytes have arrived.
    Progress {
        /// Bytes so far.
        received: u64,
        /// All bytes, if the server says so.
        total: Option<u64>,
    },
    /// An attempt failed and another one follows.
    Retrying {
        /// Message of the failed attempt.
        problem: String,
        /// Time until the next attempt.
        after: Duration,
    },
}
