//! The cache folder: files downloaded into it or put there by hand, verified when they are used.
//!
//! Beside `FILE` there may lie `FILE.lock`, which the process that downloads holds.

use std::path::{Path, PathBuf};

#[cfg(feature = "download")]
use crate::absent;
use crate::cache::cached;
#[cfg(feature = "download")]
use crate::download::Timing;
use crate::error::{FetchError, FetchProblem};
use crate::event::FetchEvent;
use crate::source::Source;

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
    #[cfg_attr(not(feature = "download"), allow(dead_code))]
    report: Box<dyn Fn(&FetchEvent) + Send + Sync>,
    #[cfg(feature = "download")]
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
            #[cfg(feature = "download")]
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
        match cached(source, path)? {
            Some(bytes) => Ok(bytes),
            None if self.offline => Err(FetchProblem::Offline),
            #[cfg(feature = "download")]
            None => absent::fetch(source, path, self.timing, &*self.report),
            #[cfg(not(feature = "download"))]
            None => Err(FetchProblem::NoDownload),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "download")]
mod tests;
