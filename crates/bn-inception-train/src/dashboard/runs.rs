//! The runs on show, and the thread that reads their logs.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::error::DashboardError;
use super::view::{Delta, View};
use crate::output::LOG_FILE;
use crate::run_log::{LogReader, Record};

/// Most runs on one page.
pub const MOST_RUNS: usize = 64;

/// How often logs are looked at for new lines.
const POLL: Duration = Duration::from_millis(250);

/// How often folders are looked at for new runs.
const RESCAN: Duration = Duration::from_secs(2);

/// Lines taken in at once: what a page waits for at most.
const BATCH: usize = 64;

/// A run on show.
#[derive(Debug, Default)]
pub struct Run {
    /// Tells this log from every other, this folder's earlier ones included. Empty: nothing read yet.
    pub key: String,
    /// Its folder as the user knows it.
    pub name: String,
    /// Length of its log in bytes.
    pub size: u64,
    /// Lines that are no records.
    pub skipped: u64,
    /// What was read of it.
    pub view: View,
}

/// What a page is sent of a run.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    /// Its place on the page; a run of another key that was there is gone.
    index: usize,
    key: &'a str,
    name: &'a str,
    /// Bytes of the log read, and their number.
    read: [u64; 2],
    skipped: u64,
    #[serde(flatten)]
    delta: Delta<'a>,
}

impl Run {
    /// What a page lacks that has seen the log up to `since`; `None` if that is nothing.
    #[must_use]
    pub fn message(&self, index: usize, since: u64) -> Option<Message<'_>> {
        Some(Message {
            index,
            key: &self.key,
            name: &self.name,
            read: [self.view.revision, self.size],
            skipped: self.skipped,
            delta: self.view.since(since)?,
        })
    }
}

/// The runs on show, shared between the thread that reads and those that send.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Mutex<Vec<Arc<Mutex<Run>>>>,
    changed: watch::Sender<u64>,
}

/// Locks, whatever became of the thread that held the lock last: a view with half a line folded in is worth showing.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runs {
    /// The runs as they are now.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Mutex<Run>>> {
        lock(&self.runs).clone()
    }

    /// Wakes a sender when something was read.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Reads the logs of the folders given and of the folders in them.
#[derive(Debug)]
pub struct Follower {
    given: Vec<PathBuf>,
    logs: Vec<Log>,
    runs: Arc<Runs>,
}

/// One log under way.
#[derive(Debug)]
struct Log {
    folder: PathBuf,
    reader: Option<LogReader>,
    run: Arc<Mutex<Run>>,
}

impl Follower {
    /// A follower of `given`: run folders, whose log may be yet to come, and folders of such.
    #[must_use]
    pub fn new(given: Vec<PathBuf>) -> Self {
        let mut follower = Self {
            given,
            logs: Vec::new(),
            runs: Arc::default(),
        };
        follower.rescan();
        follower
    }

    /// A follower of `given`, each of which has to hold a log or a folder with one.
    ///
    /// # Errors
    /// [`DashboardError::NoRun`].
    pub fn of_existing(given: Vec<PathBuf>) -> Result<Self, DashboardError> {
        for folder in &given {
            if run_folders(folder).is_empty() {
                return Err(DashboardError::NoRun {
                    folder: folder.clone(),
                });
            }
        }
        Ok(Self::new(given))
    }

    /// What it reads into.
    #[must_use]
    pub fn runs(&self) -> Arc<Runs> {
        self.runs.clone()
    }

    /// Reads on until `closing` says so, then what is left, for a second at most.
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

    /// The first folder whose log had nothing to show so far.
    #[must_use]
    pub fn without_record(&self) -> Option<&Path> {
        let mut logs = self.logs.iter();
        let empty = logs.find(|log| lock(&log.run).key.is_empty())?;
        Some(&empty.folder)
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
                let run = Arc::new(Mutex::new(Run {
                    name: name_of(&folder),
                    ..Run::default()
                }));
                lock(&self.runs.runs).push(run.clone());
                self.logs.push(Log {
                    folder,
                    reader: None,
                    run,
                });
            }
        }
    }

    /// Reads some lines of each log. Returns whether there may be more.
    fn read_some(&mut self) -> bool {
        let mut more = false;
        for log in &mut self.logs {
            more |= log.read_some();
        }
        if more {
            self.runs.changed.send_modify(|count| *count += 1);
        }
        more
    }
}

impl Log {
    fn read_some(&mut self) -> bool {
        // A log that cannot be read now (not there yet, a network drive away) is tried again.
        match self.read_batch() {
            Ok(lines) => lines > 0,
            Err(_) => {
                self.reader = None;
                false
            }
        }
    }

    fn read_batch(&mut self) -> io::Result<usize> {
        let path = self.folder.join(LOG_FILE);
        let size = fs::metadata(&path)?.len();
        let reader = match &mut self.reader {
            Some(reader) if reader.offset() <= size => reader,
            _ => {
                // New here, or replaced by a shorter one: from the beginning.
                let mut run = lock(&self.run);
                run.key.clear();
                run.view = View::default();
                self.reader.insert(LogReader::open(&path)?)
            }
        };
        let mut batch: Vec<(Record, u64)> = Vec::new();
        while batch.len() < BATCH
            && let Some(record) = reader.next_record()?
        {
            batch.push((record, reader.offset()));
        }
        let lines = batch.len();
        let mut run = lock(&self.run);
        run.size = size;
        run.skipped = reader.skipped();
        for (record, end) in batch {
            if run.key.is_empty() {
                run.key = key_of(&self.folder, record.time);
            }
            run.view.fold(record, end);
        }
        Ok(lines)
    }
}

/// `given` if it has a log, else the folders in it that have one.
fn run_folders(given: &Path) -> Vec<PathBuf> {
    let has_log = |folder: &Path| folder.join(LOG_FILE).is_file();
    if has_log(given) {
        return vec![given.to_owned()];
    }
    let entries = fs::read_dir(given).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|folder| has_log(folder))
        .collect();
    // `runs/10` comes after `runs/9`.
    found.sort_by_cached_key(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        (name.parse::<u64>().unwrap_or(u64::MAX), name.into_owned())
    });
    found
}

/// The end of a path that tells people which one it is.
fn name_of(folder: &Path) -> String {
    let parts: Vec<_> = folder
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

fn key_of(folder: &Path, time: f64) -> String {
    let mut hasher = DefaultHasher::new();
    let absolute = folder.canonicalize();
    absolute.as_deref().unwrap_or(folder).hash(&mut hasher);
    time.to_bits().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
