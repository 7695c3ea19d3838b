//! The cache folder: files downloaded into it or put there by hand, verified when they are used.
//!
//! Beside `FILE` there may lie `FILE.lock`, which the process that downloads holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;

use crate::download::{FetchEvent, Timing, download};
use crate::error::{FetchError, FetchProblem};
use crate::source::{LARGEST_FILE, Source};

/// Environment variable that names the cache folder.
pub const HOME_VARIABLE: &str = "BN_INCEPTION_HOME";

/// Location of a source's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the cache; its content is verified when it is used.
    Cached,
    /// Not in the cache: it would have to be downloaded.
    Absent,
}

/// A cache folder on this machine.
///
/// ```
/// # fn example(source: &bn_inception_fetch::Source) -> Result<(), bn_inception_fetch::FetchError> {
/// use bn_inception_fetch::Store;
///
/// let bytes = Store::at("cache").offline(true).bytes(source)?;
/// println!("{} bytes", bytes.len());
/// # Ok(())
/// # }
/// ```
pub struct Store {
    folder: Option<PathBuf>,
    offline: bool,
    report: Box<dyn Fn(&FetchEvent) + Send + Sync>,
    timing: Timing,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder).field("offline", &self.offline).finish_non_exhaustive()
    }
}

impl Store {
    /// The user's cache: the folder in `BN_INCEPTION_HOME`, else `bn-inception` in the platform's cache folder.
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

    /// A cache in `folder`, which need not exist yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::new() }
    }

    /// Forbids downloads if `offline` is true.
    pub fn offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// Calls `report` while a download is under way.
    pub fn on_event(self, report: impl Fn(&FetchEvent) + Send + Sync + 'static) -> Self {
        let report = Box::new(report);
        Self { report, ..self }
    }

    /// The cache folder; `None` for a user without a home.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Path of the file of `source`, downloaded or put there by hand; `None` without a folder.
    pub fn path(&self, source: &Source) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(&source.file))
    }

    /// Location of the file of `source`, determined without reading it.
    pub fn location(&self, source: &Source) -> Location {
        match self.path(source) {
            Some(path) if path.exists() => Location::Cached,
            _ => Location::Absent,
        }
    }

    /// Content of the file of `source`, verified, and downloaded first if it is not in the cache. Any number of
    /// processes may ask at once: one downloads, the others wait for it.
    ///
    /// # Errors
    /// [`FetchError`], which names the URL, the expected checksum and where to put the file by hand.
    pub fn bytes(&self, source: &Source) -> Result<Vec<u8>, FetchError> {
        let path = self.path(source);
        let bytes = match &path {
            Some(path) => self.cached_or_downloaded(source, path),
            None => Err(FetchProblem::NoFolder),
        };
        bytes.map_err(|problem| FetchError::new(source, &path.unwrap_or_default(), problem))
    }

    fn cached_or_downloaded(&self, source: &Source, path: &Path) -> Result<Vec<u8>, FetchProblem> {
        if let Some(bytes) = cached(source, path)? {
            return Ok(bytes);
        }
        if self.offline {
            return Err(FetchProblem::Offline);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io_at(folder))?;
        }
        let _lock = self.lock(&lock_path(path))?;
        // The previous holder of the lock may have downloaded the file.
        if let Some(bytes) = cached(source, path)? {
            return Ok(bytes);
        }
        let bytes = download(source, self.timing, &*self.report)?;
        write(path, &bytes).map_err(io_at(path))?;
        Ok(bytes)
    }

    /// A lock that holds until it is dropped. Waits while another process holds it.
    fn lock(&self, path: &Path) -> Result<File, FetchProblem> {
        let mut options = OpenOptions::new();
        let open = options.write(true).create(true).truncate(false).open(path);
        let file = open.map_err(io_at(path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => (self.report)(&FetchEvent::Waiting),
            Err(TryLockError::Error(error)) => return Err(io_at(path)(error)),
        }
        file.lock().map_err(io_at(path))?;
        Ok(file)
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The verified content of `path`, or `None` if there is no such file.
fn cached(source: &Source, path: &Path) -> Result<Option<Vec<u8>>, FetchProblem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    let damaged = |mismatch| FetchProblem::Damaged { path: path.to_owned(), mismatch };
    let size = file.metadata().map_err(io_at(path))?.len();
    source.check_size(size).map_err(damaged)?;
    let mut bytes = Vec::with_capacity(size as usize);
    // The file may have grown since it was measured.
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(io_at(path))?;
    source.check(&bytes).map_err(damaged)?;
    Ok(Some(bytes))
}

/// Writes a verified file atomically.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(bytes)?;
    file.commit()
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> FetchProblem {
    let path = path.to_owned();
    |source| FetchProblem::Io { path, source }
}

#[cfg(test)]
mod tests;
