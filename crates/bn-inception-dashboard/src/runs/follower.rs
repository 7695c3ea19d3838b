//! The runs on show, and the reading of their logs.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::state::{Changes, RunState};
use crate::error::DashboardError;
use crate::run_log::{LOG_FILE, LogReader, Record};

/// Maximum number of runs on one page.
pub const MOST_RUNS: usize = 64;

/// Interval of looking for new lines.
const POLL: Duration = Duration::from_millis(250);

/// Interval of looking for new runs.
const RESCAN: Duration = Duration::from_secs(2);

/// Lines folded at a time; a page waits for one batch at most.
const BATCH: usize = 64;

/// A run on show.
#[derive(Debug, Default)]
pub struct Run {
    /// Identity of the log, other than that of earlier logs in the same folder. Empty before the first record.
    pub key: String,
    /// Last two parts of the folder's path.
    pub name: String,
    /// Length of the log in bytes.
    pub size: u64,
    /// Number of lines that are no records.
    pub skipped: u64,
    /// The records read, folded.
    pub state: RunState,
}

/// Changes of a run, as sent to a page.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    /// Index of the run on the page, where it replaces a run with another key.
    index: usize,
    key: &'a str,
    name: &'a str,
    /// Bytes of the log read, and its length.
    read: [u64; 2],
    skipped: u64,
    #[serde(flatten)]
    changes: Changes<'a>,
}

impl Run {
    /// Changes for a page that has seen the log up to byte `since`, or `None` without any.
    pub fn message(&self, index: usize, since: u64) -> Option<Message<'_>> {
        Some(Message {
            index,
            key: &self.key,
            name: &self.name,
            read: [self.state.offset, self.size],
            skipped: self.skipped,
            changes: self.state.since(since)?,
        })
    }
}

/// The runs on show, shared between the reading thread and the server.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Mutex<Vec<Run>>,
    changed: watch::Sender<u64>,
}

impl Runs {
    /// The runs at present. A panic of another holder is ignored: a state with half a record folded in is still worth
    /// showing.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of the runs.
    pub fn keys(&self) -> Vec<String> {
        self.lock().iter().map(|run| run.key.clone()).collect()
    }

    /// Notification of records read.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Reads the logs of the folders given and of the folders in them.
#[derive(Debug)]
pub struct Follower {
    given: Vec<PathBuf>,
    /// Logs of the runs, in the same order.
    logs: Vec<Log>,
    runs: Arc<Runs>,
}

#[derive(Debug)]
struct Log {
    folder: PathBuf,
    reader: Option<LogReader>,
}

impl Follower {
    /// Follows `given`: run folders, whose log may not exist yet, and folders of such.
    pub fn new(given: Vec<PathBuf>) -> Self {
        let mut follower = Self { given, logs: Vec::new(), runs: Arc::default() };
        follower.rescan();
        follower
    }

    /// Like [`Self::new`], but each folder has to hold a log or a folder with one.
    ///
    /// # Errors
    /// [`DashboardError::NoRun`] otherwise.
    pub fn of_existing(given: Vec<PathBuf>) -> Result<Self, DashboardError> {
        for folder in &given {
            if run_folders(folder).is_empty() {
                return Err(DashboardError::NoRun { folder: folder.clone() });
            }
        }
        Ok(Self::new(given))
    }

    /// The runs it reads into.
    pub fn runs(&self) -> Arc<Runs> {
        self.runs.clone()
    }

    /// Reads until `closing` becomes true, then the rest of the logs, for a second at most.
    pub fn follow(mut self, closing: &AtomicBool) {
        let mut scanned = Instant::now();
        while !closing.load(Ordering::Acquire) {
            if scanned.elapsed() >= RESCAN {
                self.rescan();
                scanned = Instant::now();
            }
            if !self.read_some() {
                std::thread::park_timeout(POLL);
            }
        }
        let closed = Instant::now();
        while self.read_some() && closed.elapsed() < Duration::from_secs(1) {}
    }

    /// Reads each log to its end.
    pub fn read_all(&mut self) {
        while self.read_some() {}
    }

    /// The first folder whose log has had no record so far.
    pub fn without_record(&self) -> Option<&Path> {
        let empty = self.runs.lock().iter().position(|run| run.key.is_empty())?;
        Some(&self.logs[empty].folder)
    }

    fn rescan(&mut self) {
        for given in &self.given {
            let mut found = run_folders(given);
            if found.is_empty() {
                found.push(given.clone());
            }
            for folder in found {
                let known = self.logs.iter().any(|log| log.folder == folder);
                if known || self.logs.len() >= MOST_RUNS {
                    continue;
                }
                self.runs.lock().push(Run { name: name_of(&folder), ..Run::default() });
                self.logs.push(Log { folder, reader: None });
            }
        }
    }

    /// Reads a batch of each log. Returns false if none has grown.
    fn read_some(&mut self) -> bool {
        let mut more = false;
        for (index, log) in self.logs.iter_mut().enumerate() {
            // A log that cannot be read now (it does not exist yet, a network drive is offline) is tried again later.
            match log.read_batch(index, &self.runs) {
                Ok(lines) => more |= lines > 0,
                Err(_) => log.reader = None,
            }
        }
        if more {
            self.runs.changed.send_modify(|count| *count += 1);
        }
        more
    }
}

impl Log {
    /// Folds a batch of records into the run at `index`. Returns their number.
    fn read_batch(&mut self, index: usize, runs: &Runs) -> io::Result<usize> {
        let path = self.folder.join(LOG_FILE);
        let size = fs::metadata(&path)?.len();
        let reader = match &mut self.reader {
            Some(reader) if reader.offset() <= size => reader,
            _ => {
                // New, or replaced by a shorter log.
                let run = &mut runs.lock()[index];
                run.key.clear();
                run.state = RunState::default();
                self.reader.insert(LogReader::open(&path)?)
            }
        };
        // Read and parsed without the lock.
        let mut batch: Vec<(Record, u64)> = Vec::new();
        while batch.len() < BATCH
            && let Some(record) = reader.next_record()?
        {
            batch.push((record, reader.offset()));
        }
        let lines = batch.len();
        let run = &mut runs.lock()[index];
        run.size = size;
        run.skipped = reader.skipped();
        for (record, end) in batch {
            if run.key.is_empty() {
                run.key = key_of(&self.folder, record.time);
            }
            run.state.fold(record, end);
        }
        Ok(lines)
    }
}

/// `given` if it has a log, otherwise the folders in it that have one, in natural order.
fn run_folders(given: &Path) -> Vec<PathBuf> {
    let has_log = |folder: &Path| folder.join(LOG_FILE).is_file();
    if has_log(given) {
        return vec![given.to_owned()];
    }
    let entries = fs::read_dir(given).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|folder| has_log(folder)).collect();
    // `runs/10` comes after `runs/9`.
    found.sort_by_cached_key(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        (name.parse::<u64>().unwrap_or(u64::MAX), name.into_owned())
    });
    found
}

/// The last two parts of a path.
fn name_of(folder: &Path) -> String {
    let parts: Vec<_> = folder.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

fn key_of(folder: &Path, time: f64) -> String {
    let mut hasher = DefaultHasher::new();
    let absolute = folder.canonicalize();
    absolute.as_deref().unwrap_or(folder).hash(&mut hasher);
    time.to_bits().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
