//! The page of some runs as one file, to mail or to archive.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;

use crate::error::DashboardError;
use crate::page;
use crate::query;
use crate::runs::Follower;

/// Points of one curve of all runs together, and the bounds of one run's share.
const ALL_POINTS: usize = 40_000;
const FEWEST_POINTS: usize = 150;
const MOST_POINTS: usize = 1200;

/// Writes what a dashboard of the runs in `folders` would show now to `path`, as one page that needs nothing else.
/// Returns its size in bytes.
///
/// # Errors
/// [`DashboardError::NoRun`], [`DashboardError::NoRecord`] and [`DashboardError::Write`].
pub fn export(folders: Vec<PathBuf>, path: &Path) -> Result<u64, DashboardError> {
    let mut follower = Follower::of_existing(folders)?;
    follower.read_all();
    if let Some(folder) = follower.without_record() {
        let folder = folder.to_owned();
        return Err(DashboardError::NoRecord { folder });
    }
    let runs = follower.runs();
    let runs = runs.lock();
    let points = (ALL_POINTS / runs.len().max(1)).clamp(FEWEST_POINTS, MOST_POINTS);
    let messages: Vec<_> = runs.iter().filter_map(|run| query::whole(run, points)).collect();
    let write = |source| DashboardError::Write { path: path.to_owned(), source };
    let data = serde_json::to_string(&messages).map_err(|error| write(error.into()))?;
    let report = page::report(&data);
    replace(path, report.as_bytes()).map_err(write)?;
    Ok(report.len() as u64)
}

/// Writes `bytes` to `path` atomically.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A device, say, which renaming the finished file would replace.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let message = "it exists and is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(bytes)?;
    file.commit()
}
