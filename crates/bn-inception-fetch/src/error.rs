//! Errors on the way from a source to its bytes.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use crate::source::{Mismatch, Source};

/// Failure to obtain the file of a [`Source`]. The message is one line and says how to get it by hand.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", .0.problem, .0.by_hand())]
pub struct FetchError(Box<Failure>);

/// A problem, and what a person needs to do without the download.
#[derive(Debug)]
struct Failure {
    source: Source,
    path: PathBuf,
    problem: FetchProblem,
}

impl FetchError {
    pub(crate) fn new(source: &Source, path: &Path, problem: FetchProblem) -> Self {
        Self(Box::new(Failure { source: source.clone(), path: path.to_owned(), problem }))
    }

    /// The cause.
    pub fn problem(&self) -> &FetchProblem {
        &self.0.problem
    }
}

impl Failure {
    /// End of the message: the file's address, its checksum and the path to save it as.
    fn by_hand(&self) -> String {
        if matches!(self.problem, FetchProblem::NoFolder | FetchProblem::Damaged { .. }) {
            return String::new();
        }
        let Source { url, checksum, .. } = &self.source;
        format!(" (by hand: save {url} with {checksum} as {})", self.path.display())
    }
}

/// Problems on the way to a file.
#[derive(Debug, thiserror::Error)]
pub enum FetchProblem {
    /// There is no cache folder, because the user has no home.
    #[error("no cache folder: set BN_INCEPTION_HOME to one")]
    NoFolder,
    /// A file of the cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file is not in the cache, and downloads are forbidden.
    #[error("not in the cache, and offline")]
    Offline,
    /// The file is not in the cache, and this build has no HTTP client.
    #[error("not in the cache, and this build cannot download (its feature `download` is off)")]
    NoDownload,
    /// The file in the cache is not the published one.
    #[error("{}: {mismatch}; delete it to have it downloaded again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Difference from the published file.
        mismatch: Mismatch,
    },
    /// The server sent something other than the published file. Nothing of it is kept.
    #[error("what the server sent is not the published file: {0}")]
    Wrong(Mismatch),
    /// The server answered with something other than `200 OK`.
    #[error("the server answered {}", reason(*.0))]
    Status(u16),
    /// The connection ended early.
    #[error("the server sent {received} of {expected} bytes")]
    Short {
        /// Bytes received.
        received: u64,
        /// Bytes announced or published.
        expected: u64,
    },
    /// The server could not be reached or stopped talking.
    #[error("{0}")]
    Transport(#[source] Box<dyn StdError + Send + Sync>),
}

/// The status with its standard phrase: `404 Not Found`.
#[cfg(feature = "download")]
fn reason(status: u16) -> String {
    let known = ureq::http::StatusCode::from_u16(status).ok();
    match known.and_then(|known| known.canonical_reason()) {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_string(),
    }
}

#[cfg(not(feature = "download"))]
fn reason(status: u16) -> String {
    status.to_string()
}
