//! Files that are not in the cache yet.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;

use crate::cache::{cached, io_at};
use crate::download::{Timing, download};
use crate::error::FetchProblem;
use crate::event::FetchEvent;
use crate::source::Source;

/// Downloads the file of `source` to `path`, unless another process does so meanwhile, and returns its content.
pub(crate) fn fetch(
    source: &Source,
    path: &Path,
    timing: Timing,
    report: &dyn Fn(&FetchEvent),
) -> Result<Vec<u8>, FetchProblem> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io_at(folder))?;
    }
    let _lock = lock(&lock_path(path), report)?;
    // The previous holder of the lock may have downloaded the file.
    if let Some(bytes) = cached(source, path)? {
        return Ok(bytes);
    }
    let bytes = download(source, timing, report)?;
    write(path, &bytes).map_err(io_at(path))?;
    Ok(bytes)
}

/// A lock that holds until it is dropped. Waits while another process holds it.
fn lock(path: &Path, report: &dyn Fn(&FetchEvent)) -> Result<File, FetchProblem> {
    let mut options = OpenOptions::new();
    let open = options.write(true).create(true).truncate(false).open(path);
    let file = open.map_err(io_at(path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => report(&FetchEvent::Waiting),
        Err(TryLockError::Error(error)) => return Err(io_at(path)(error)),
    }
    file.lock().map_err(io_at(path))?;
    Ok(file)
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Writes a verified file atomically.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(bytes)?;
    file.commit()
}
