//! One file with everything in it, for a mail or an archive.

use std::path::{Path, PathBuf};

use bn_inception::atomic;
use serde_json::value::{RawValue, to_raw_value};

use super::error::DashboardError;
use super::page;
use super::runs::{Follower, lock};

/// Writes what a dashboard of the runs in `folders` would show now to `path`, as one page that needs nothing else.
/// Returns its size in bytes: 4.7 million of the charts' library and what the runs have.
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
    let runs = follower.runs().list();
    let messages: Vec<Box<RawValue>> = runs
        .iter()
        .enumerate()
        .filter_map(|(index, run)| to_raw_value(&lock(run).message(index, 0)?).ok())
        .collect();
    let write = |source| DashboardError::Write {
        path: path.to_owned(),
        source,
    };
    let data = serde_json::to_string(&messages).map_err(|error| write(error.into()))?;
    let report = page::report(&data);
    atomic::write(path, report.as_bytes()).map_err(write)?;
    Ok(report.len() as u64)
}
