//! The log of one run, wherever its path leads.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::shown::Run;
use super::state::RunState;
use crate::run_log::{LOG_FILE, LogReader, Record};

/// Lines folded at a time; a page waits for one batch at most.
const BATCH: usize = 64;

/// The log in a run's folder. The path is followed, not the file: `rsync` and `mv` put another in its place.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    open: Option<Open>,
}

/// A log that is being read.
#[derive(Debug)]
struct Open {
    reader: LogReader,
    identity: Identity,
    /// Length and time of change of the file when it was last compared with what was read.
    compared: (u64, Option<SystemTime>),
}

/// The part of a log read at a time.
pub struct Batch {
    /// What came before is void: the log is another one.
    fresh: bool,
    records: Vec<(Record, u64)>,
    size: u64,
    skipped: u64,
}

/// What tells a file from one that takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    number: Option<(u64, u64)>,
    /// Numbers of removed files are used again.
    created: Option<SystemTime>,
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt as _;
            Some((file.dev(), file.ino()))
        };
        #[cfg(not(unix))]
        let number = None;
        Self { number, created: file.created().ok() }
    }
}

impl Log {
    /// The log in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: None }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True if there is no log any more.
    pub fn is_gone(&self) -> bool {
        let found = fs::metadata(self.folder.join(LOG_FILE));
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Reads and parses some records.
    ///
    /// # Errors
    /// [`io::Error`] if the log cannot be read now: it does not exist yet, or its network drive is offline.
    pub fn read(&mut self) -> io::Result<Batch> {
        let path = self.folder.join(LOG_FILE);
        let file = fs::metadata(&path)?;
        let (size, identity) = (file.len(), Identity::of(&file));
        let compared = (size, file.modified().ok());
        // Another log may have been copied over this one in its place.
        let same = match &self.open {
            Some(open) if open.identity == identity && open.compared != compared => open.reader.agrees_with_file()?,
            _ => true,
        };
        let going_on = match self.open.take() {
            Some(open) if open.identity == identity => same.then_some(open.reader),
            // If the new file cannot be compared, it is read from its beginning.
            Some(open) => open.reader.reopened(&path).unwrap_or_default(),
            None => None,
        };
        let fresh = going_on.is_none();
        let reader = match going_on {
            Some(reader) => reader,
            None => LogReader::open(&path)?,
        };
        let open = self.open.insert(Open { reader, identity, compared });
        let reader = &mut open.reader;
        let mut records = Vec::new();
        while records.len() < BATCH
            && let Some(record) = reader.next_record()?
        {
            records.push((record, reader.offset()));
        }
        Ok(Batch { fresh, records, size, skipped: reader.skipped() })
    }

    /// Folds a batch into the run. Returns false if it changed nothing.
    pub fn fold(&self, batch: Batch, run: &mut Run) -> bool {
        let changed = !batch.records.is_empty() || (batch.fresh && !run.key.is_empty());
        if batch.fresh {
            run.key.clear();
            run.state = RunState::default();
        }
        (run.size, run.skipped) = (batch.size, batch.skipped);
        for (record, end) in batch.records {
            if run.key.is_empty() {
                run.key = key_of(&self.folder, record.time);
            }
            run.state.fold(record, end);
        }
        changed
    }
}

fn key_of(folder: &Path, time: f64) -> String {
    let mut hasher = DefaultHasher::new();
    let absolute = folder.canonicalize();
    absolute.as_deref().unwrap_or(folder).hash(&mut hasher);
    time.to_bits().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
