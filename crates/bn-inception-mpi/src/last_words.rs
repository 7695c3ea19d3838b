//! The message of a process that fails.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bn_inception_train::checkpoint::CheckpointFolder;

/// Knows what to say: which rank this is, and where to go on from. Clones share the folder.
#[derive(Debug, Clone)]
pub(crate) struct LastWords {
    rank: usize,
    out: Arc<OnceLock<PathBuf>>,
}

impl LastWords {
    pub(crate) fn new(rank: usize) -> Self {
        Self { rank, out: Arc::default() }
    }

    /// The folder of the run. Only the first call counts.
    pub(crate) fn report_checkpoints_of(&self, out: &Path) {
        self.out.get_or_init(|| out.to_owned());
    }

    /// Says, in one line on standard error, what happened to this rank and which checkpoint is the newest.
    pub(crate) fn say(&self, what: &str) {
        let checkpoint = self.newest().map_or_else(
            || "no checkpoint was written".to_owned(),
            |path| format!("the newest checkpoint is {}", path.display()),
        );
        // At once, as other ranks may be speaking; and nobody is left to hear of an error in this.
        let line = format!("rank {}: {what}; {checkpoint}\n", self.rank);
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn newest(&self) -> Option<PathBuf> {
        let folder = CheckpointFolder::of_run(self.out.get()?);
        let newest = folder.steps().ok()?.pop()?;
        Some(folder.file(newest))
    }
}
