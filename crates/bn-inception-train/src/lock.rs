//! The lock on an output folder: one process writes a run.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::TrainError;

/// File in the output folder that is locked. It is empty and stays: removing it would let a third process lock a new
/// one while a second still holds the old.
const LOCK_FILE: &str = "run.lock";

/// The right to write a run, held until it is dropped. The operating system takes it back when the process dies, in
/// whatever way.
#[derive(Debug)]
pub struct OutputLock {
    /// `None` where the file system knows no locks.
    _file: Option<File>,
}

impl OutputLock {
    /// Locks the folder `out`, which exists. `status` is told if its file system knows no locks.
    ///
    /// # Errors
    /// [`TrainError::OutputLocked`] if another process has locked it, [`TrainError::Output`] if it cannot be written.
    pub fn take(out: &Path, mut status: impl FnMut(&str)) -> Result<Self, TrainError> {
        let path = out.join(LOCK_FILE);
        // Not truncated, in case that somebody has a file of this name.
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let file = open.map_err(TrainError::output(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(TrainError::OutputLocked { path: out.to_owned() }),
            // Network drives without locks are no reason not to train.
            Err(TryLockError::Error(error)) => {
                status(&format!("{} cannot be locked ({error}): start no other run in it", out.display()));
                Ok(Self { _file: None })
            }
        }
    }
}
