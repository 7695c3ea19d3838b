//! What can go wrong between a name and the bytes of a weight file.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use crate::checksum::Checksum;
use crate::registry::Entry;

/// Why the file of an [`Entry`] could not be had. The message is one line and says how to get it by hand.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", .0.problem, by_hand(.0))]
pub struct FetchError(Box<Failure>);

/// What went wrong, and what a person needs to do without.
#[derive(Debug)]
struct Failure {
    url: Option<String>,
    checksum: Checksum,
    place: PathBuf,
    problem: FetchProblem,
}

impl FetchError {
    pub(crate) fn new(entry: &Entry, place: &Path, problem: FetchProblem) -> Self {
        Self(Box::new(Failure {
            url: entry.url.clone(),
            checksum: entry.checksum.clone(),
            place: place.to_owned(),
            problem,
        }))
    }

    /// Where the file has to lie to be found.
    pub fn place(&self) -> &Path {
        &self.0.place
    }

    /// What went wrong.
    pub fn problem(&self) -> &FetchProblem {
        &self.0.problem
    }
}

/// What went wrong on the way to a weight file.
#[derive(Debug, thiserror::Error)]
pub enum FetchProblem {
    /// There is no cache folder, because the user has no home.
    #[error("no cache folder: set {} to one", crate::HOME_VARIABLE)]
    NoFolder,
    /// A file of the cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not in the cache, and the network is not to be used.
    #[error("not in the cache, and offline")]
    Offline,
    /// The file in the cache is not the published one.
    #[error("{}: {mismatch}; delete it to have it downloaded again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        mismatch: Mismatch,
    },
    /// The server sent something else than the published file. Nothing of it is kept.
    #[error("what the server sent is not the published file: {0}")]
    Wrong(Mismatch),
    /// The server answered with an error.
    #[error("the server answered {}", reason(*.0))]
    Status(u16),
    /// The connection ended early.
    #[error("the server sent {received} of {expected} bytes")]
    Short {
        /// Bytes received, with those of earlier attempts.
        received: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// The server answered the request for the rest of the file with some other part of it.
    #[error("the server sent another part of the file than the one asked for")]
    Range,
    /// The server could not be reached or stopped talking.
    #[error("{0}")]
    Transport(#[source] Box<dyn StdError + Send + Sync>),
}

/// How a file differs from the published one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// In length.
    #[error("{found} bytes, expected {expected}")]
    Size {
        /// Length in bytes.
        found: u64,
        /// Published length.
        expected: u64,
    },
    /// It is longer than any weight file of this network.
    #[error("more than {limit} bytes")]
    TooLong {
        /// The most bytes that are read.
        limit: u64,
    },
    /// In content.
    #[error("checksum {found}, expected {expected}")]
    Checksum {
        /// The file's digits.
        found: String,
        /// The published checksum.
        expected: Checksum,
    },
}

fn reason(status: u16) -> String {
    let known = ureq::http::StatusCode::from_u16(status);
    let reason = known.ok().and_then(|known| known.canonical_reason());
    match reason {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_string(),
    }
}

/// The end of a message: where the file is, what it has to add up to and where to put it.
fn by_hand(failure: &Failure) -> String {
    let place = failure.place.display();
    match (&failure.problem, &failure.url) {
        (FetchProblem::NoFolder | FetchProblem::Damaged { .. }, _) | (_, None) => String::new(),
        (_, Some(url)) => {
            let checksum = &failure.checksum;
            format!(" (by hand: save {url} with {checksum} as {place})")
        }
    }
}
