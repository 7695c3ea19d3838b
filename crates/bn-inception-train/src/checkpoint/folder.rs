//! The folder of a run's checkpoints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::CheckpointError;

const PREFIX: &str = "step-";
const SUFFIX: &str = ".ckpt";
/// Prefix of the names of unfinished files: atomic-write-file puts a dot before the final name.
const UNFINISHED: &str = ".step-";

/// The folder of a run's checkpoints, `step-00000100.ckpt` and so on.
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    path: PathBuf,
}

impl CheckpointFolder {
    /// The folder at `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// That of the run in the output folder `out`.
    #[must_use]
    pub fn of_run(out: &Path) -> Self {
        Self::new(out.join("checkpoints"))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the folder and removes the half-written files of a killed run from it.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] with the path.
    pub fn prepare(&self) -> Result<(), CheckpointError> {
        fs::create_dir_all(&self.path).map_err(|source| self.io(source))?;
        for entry in fs::read_dir(&self.path).map_err(|source| self.io(source))? {
            let entry = entry.map_err(|source| self.io(source))?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path()).map_err(|source| self.io(source))?;
            }
        }
        Ok(())
    }

    /// Path of the checkpoint after `step` optimizer steps.
    #[must_use]
    pub fn file(&self, step: u64) -> PathBuf {
        self.path.join(format!("{PREFIX}{step:08}{SUFFIX}"))
    }

    /// Steps with a checkpoint, ascending; none if the folder does not exist.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] with the path.
    pub fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        use io::ErrorKind::{NotADirectory, NotFound};
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
            Err(error) => return Err(self.io(error)),
        };
        let mut steps = Vec::new();
        for entry in entries {
            let name = entry.map_err(|source| self.io(source))?.file_name();
            let name = name.to_string_lossy();
            let step: Option<u64> = name
                .strip_prefix(PREFIX)
                .and_then(|name| name.strip_suffix(SUFFIX))
                .and_then(|digits| digits.parse().ok());
            steps.extend(step);
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Removes all checkpoints except the last `keep` and that of step `best`.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] with the path.
    pub fn prune(&self, keep: usize, best: Option<u64>) -> Result<(), CheckpointError> {
        let steps = self.steps()?;
        let old = &steps[..steps.len().saturating_sub(keep)];
        for step in old.iter().filter(|step| Some(**step) != best) {
            let path = self.file(*step);
            fs::remove_file(&path).map_err(|source| CheckpointError::Io { path, source })?;
        }
        Ok(())
    }

    fn io(&self, source: io::Error) -> CheckpointError {
        CheckpointError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_and_the_best_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::of_run(folder.path());
        assert_eq!(folder.steps().unwrap(), [0_u64; 0]);
        folder.prepare().unwrap();
        for step in [1, 20, 3, 400] {
            fs::write(folder.file(step), b"").unwrap();
        }
        fs::write(folder.path.join(".step-00000400.ckpt.aB3xyz"), b"").unwrap();
        folder.prepare().unwrap();
        folder.prune(2, Some(1)).unwrap();
        assert_eq!(folder.steps().unwrap(), [1, 20, 400]);
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 3);
    }
}
