//! From a name to bytes: built in, in the cache, or downloaded into it.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::download::{self, Timing};
use crate::error::{FetchError, FetchProblem, Mismatch};
use crate::registry::Entry;

/// Environment variable that names the cache folder.
pub const HOME_VARIABLE: &str = "BN_INCEPTION_HOME";

/// The longest file that is read or downloaded, in bytes. No published file of this network reaches a fifth of it.
pub const LARGEST_FILE: u64 = 256 << 20;

/// What a [`Store`] reports while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another process is downloading the same file; this one waits for it.
    Waiting,
    /// Bytes that have arrived so far, and how many there will be if the server says so.
    Progress {
        /// Bytes so far.
        received: u64,
        /// All bytes.
        total: Option<u64>,
    },
    /// An attempt failed and another one follows.
    Retrying {
        /// What went wrong.
        problem: String,
        /// Time until the next attempt.
        after: Duration,
    },
}

/// Where the file of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Part of this crate.
    BuiltIn,
    /// In the cache; its content is verified when it is used.
    Cached,
    /// It would have to be downloaded.
    Absent,
}

/// The files of the registry on this machine.
///
/// ```no_run
/// use bn_inception_weights::{Store, named};
///
/// let entry = named("cadene").ok_or("no such entry")?;
/// let file = Store::new().bytes(entry)?;
/// println!("{} bytes", file.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Store {
    folder: Option<PathBuf>,
    offline: bool,
    report: Box<dyn Fn(&Event) + Send + Sync>,
    timing: Timing,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The user's: the folder in `BN_INCEPTION_HOME`, else `bn-inception` in the platform's cache folder.
    pub fn new() -> Self {
        let named = std::env::var_os(HOME_VARIABLE).filter(|folder| !folder.is_empty());
        let platforms = || Some(dirs::cache_dir()?.join("bn-inception"));
        Self {
            folder: named.map(PathBuf::from).or_else(platforms),
            offline: false,
            report: Box::new(|_| ()),
            timing: Timing::default(),
        }
    }

    /// One whose cache is `folder`, which need not exist yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Some(folder.into()),
            ..Self::new()
        }
    }

    /// Whether the network must not be used.
    pub fn offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// Calls `report` while a download is under way.
    pub fn on_event(self, report: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let report = Box::new(report);
        Self { report, ..self }
    }

    #[cfg(test)]
    pub(crate) fn with_timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// The cache folder; `None` for a user without a home.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Where the file of `entry` belongs, for downloads and for files put there by hand; `None` without a folder.
    pub fn path(&self, entry: &Entry) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(&entry.file))
    }

    /// Where the file of `entry` is. Looks, but reads nothing.
    pub fn place(&self, entry: &Entry) -> Place {
        match self.path(entry) {
            _ if entry.built_in().is_some() => Place::BuiltIn,
            Some(path) if path.exists() => Place::Cached,
            _ => Place::Absent,
        }
    }

    /// The file of `entry`, verified. It is downloaded first if it is neither built in nor in the cache.
    ///
    /// # Errors
    /// [`FetchError`], which names the URL, the expected checksum and where to put the file by hand.
    pub fn bytes(&self, entry: &Entry) -> Result<Cow<'static, [u8]>, FetchError> {
        if let Some(bytes) = entry.built_in() {
            return Ok(Cow::Borrowed(bytes));
        }
        let Some(path) = self.path(entry) else {
            return Err(FetchError::new(
                entry,
                Path::new(""),
                FetchProblem::NoFolder,
            ));
        };
        self.cached_or_downloaded(entry, &path)
            .map(Cow::Owned)
            .map_err(|problem| FetchError::new(entry, &path, problem))
    }

    fn cached_or_downloaded(&self, entry: &Entry, path: &Path) -> Result<Vec<u8>, FetchProblem> {
        if let Some(bytes) = cached(entry, path)? {
            return Ok(bytes);
        }
        let Some(url) = entry.url.as_deref().filter(|_| !self.offline) else {
            return Err(FetchProblem::Offline);
        };
        download::download(entry, url, path, self.timing, &*self.report)?;
        cached(entry, path)?.ok_or_else(|| io_at(path)(io::ErrorKind::NotFound.into()))
    }
}

/// The verified content of `path`, or `None` if there is no such file.
fn cached(entry: &Entry, path: &Path) -> Result<Option<Vec<u8>>, FetchProblem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    let damaged = |mismatch| FetchProblem::Damaged {
        path: path.to_owned(),
        mismatch,
    };
    let size = file.metadata().map_err(io_at(path))?.len();
    check_size(entry, size).map_err(damaged)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(io_at(path))?;
    // The file may have grown since it was measured.
    check_size(entry, bytes.len() as u64).map_err(damaged)?;
    let found = entry.checksum.of(&mut &bytes[..], bytes.len() as u64);
    check_digits(entry, found.map_err(io_at(path))?).map_err(damaged)?;
    Ok(Some(bytes))
}

/// Whether a file of `size` bytes can be that of `entry`.
pub(crate) fn check_size(entry: &Entry, size: u64) -> Result<(), Mismatch> {
    match entry.size {
        Some(expected) if size != expected => Err(Mismatch::Size {
            found: size,
            expected,
        }),
        None if size > LARGEST_FILE => Err(Mismatch::TooLong {
            limit: LARGEST_FILE,
        }),
        _ => Ok(()),
    }
}

/// Whether a file whose checksum is `found` is that of `entry`.
pub(crate) fn check_digits(entry: &Entry, found: String) -> Result<(), Mismatch> {
    match entry.checksum.accepts(&found) {
        true => Ok(()),
        false => Err(Mismatch::Checksum {
            found,
            expected: entry.checksum.clone(),
        }),
    }
}

/// Verifies the file at `path` without holding it in memory.
pub(crate) fn verify(entry: &Entry, path: &Path) -> Result<Result<(), Mismatch>, FetchProblem> {
    let mut file = File::open(path).map_err(io_at(path))?;
    let size = fs::metadata(path).map_err(io_at(path))?.len();
    if let Err(mismatch) = check_size(entry, size) {
        return Ok(Err(mismatch));
    }
    let found = entry.checksum.of(&mut file, size).map_err(io_at(path))?;
    Ok(check_digits(entry, found))
}

pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> FetchProblem {
    let path = path.to_owned();
    |source| FetchProblem::Io { path, source }
}
