//! The output folder of a run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, CheckpointError, CheckpointFolder};
use crate::error::TrainError;
use crate::group::{Group, read, write};
use crate::lock::OutputLock;

/// Folder of the images drawn when there is no other data.
pub(crate) const DRAWN_FOLDER: &str = "data";
pub(crate) const TENSORBOARD_FOLDER: &str = "tensorboard";
pub(crate) const SUMMARY_FILE: &str = "summary.json";
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";

/// The newest checkpoint of the run in `out`, and its file. Rank 0 of `group` reads it and sends it to the others, whose
/// disks may be others.
pub(crate) fn newest_checkpoint(out: &Path, group: &dyn Group) -> Result<(Checkpoint, PathBuf), TrainError> {
    if group.rank() > 0 {
        let path: PathBuf = read(0, &group.broadcast(Vec::new()))?;
        let checkpoint = Checkpoint::decode(&group.broadcast(Vec::new()), &path);
        return Ok((checkpoint.map_err(|error| TrainError::Load { error, older: None })?, path));
    }
    let folder = CheckpointFolder::of_run(out);
    let load = |error| TrainError::Load { error, older: None };
    let steps = folder.steps().map_err(load)?;
    let Some((newest, older)) = steps.split_last() else {
        return Err(TrainError::NothingToResume { path: out.to_owned() });
    };
    let path = folder.file(*newest);
    let bytes = fs::read(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source });
    let checkpoint = bytes.and_then(|bytes| Ok((Checkpoint::decode(&bytes, &path)?, bytes)));
    let (checkpoint, bytes) =
        checkpoint.map_err(|error| TrainError::Load { error, older: older.last().map(|step| folder.file(*step)) })?;
    if group.size() > 1 {
        group.broadcast(write(&path));
        group.broadcast(bytes);
    }
    Ok((checkpoint, path))
}

/// Refuses an output folder that holds a finished run, an unfinished one that is not resumed, or other weights.
pub(crate) fn check_out(out: &Path, resume: bool) -> Result<(), TrainError> {
    let path = out.to_owned();
    let finished = out.join(SUMMARY_FILE).exists();
    if resume && finished {
        return Err(TrainError::AlreadyFinished { path });
    }
    let steps = CheckpointFolder::of_run(out).steps();
    let steps = steps.map_err(|error| TrainError::Load { error, older: None })?;
    if !resume && steps.is_empty() && !finished && out.join(WEIGHTS_FILE).exists() {
        return Err(TrainError::WeightsInTheWay { path: out.join(WEIGHTS_FILE) });
    }
    if !resume && (finished || !steps.is_empty()) {
        return Err(TrainError::OutputTaken { path, finished });
    }
    Ok(())
}

/// Makes the folder this process's own: creates it if necessary, locks it, and checks again that no other process has
/// begun a run in it since [`check_out`].
pub(crate) fn claim(out: &Path, resume: bool, status: impl FnMut(&str)) -> Result<OutputLock, TrainError> {
    make_writable(out)?;
    let lock = OutputLock::take(out, status)?;
    check_out(out, resume)?;
    Ok(lock)
}

/// Creates the folder if necessary and checks that files can be created in it.
fn make_writable(out: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(out).map_err(TrainError::output(out))?;
    // Permissions are not enough (read-only mounts, quotas): only writing is a proof.
    tempfile::tempfile_in(out).map_err(TrainError::output(out))?;
    Ok(())
}
