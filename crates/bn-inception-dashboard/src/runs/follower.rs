//! The reading of the logs of all runs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::log::Log;
use super::shown::{Run, Runs};
use crate::error::DashboardError;
use crate::run_log::LOG_FILE;

/// Interval of looking for new lines.
const POLL: Duration = Duration::from_millis(250);

/// Interval of looking for new runs, and for those that are gone.
const RESCAN: Duration = Duration::from_secs(2);

/// Reads the logs of the folders given and of the folders in them.
#[derive(Debug)]
pub struct Follower {
    given: Vec<PathBuf>,
    /// Logs of the runs, in the same order.
    logs: Vec<Log>,
    /// Number of each folder in which a run was found, in that order. A run that comes back has its old one.
    numbers: HashMap<PathBuf, usize>,
    runs: Arc<Runs>,
}

impl Follower {
    /// Follows `given`: run folders, whose log may not exist yet, and folders of such.
    pub fn new(given: Vec<PathBuf>) -> Self {
        let mut follower = Self { given, logs: Vec::new(), numbers: HashMap::new(), runs: Arc::default() };
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
        self.rescan();
        while self.read_some() && closed.elapsed() < Duration::from_secs(1) {}
    }

    /// Reads each log to its end.
    pub fn read_all(&mut self) {
        while self.read_some() {}
    }

    /// The first folder whose log has had no record so far.
    pub fn without_record(&self) -> Option<&Path> {
        let empty = self.runs.lock().iter().position(|run| run.key.is_empty())?;
        Some(self.logs[empty].folder())
    }

    fn rescan(&mut self) {
        self.drop_gone();
        for given in &self.given {
            for folder in run_folders(given) {
                let next = self.numbers.len();
                let number = *self.numbers.entry(folder.clone()).or_insert(next);
                let mut runs = self.runs.lock();
                if let Err(place) = runs.binary_search_by_key(&number, |run| run.number) {
                    runs.insert(
                        place,
                        Run { name: name_of(&folder), folder: folder.clone(), number, ..Run::default() },
                    );
                    self.logs.insert(place, Log::new(folder));
                }
            }
        }
    }

    /// Drops the runs whose logs are gone.
    fn drop_gone(&mut self) {
        let mut index = 0;
        while index < self.logs.len() {
            if self.logs[index].is_gone() {
                self.logs.remove(index);
                self.runs.lock().remove(index);
                self.runs.notify();
            } else {
                index += 1;
            }
        }
    }

    /// Reads a batch of each log. Returns false if none has grown.
    fn read_some(&mut self) -> bool {
        let mut more = false;
        for (index, log) in self.logs.iter_mut().enumerate() {
            // A log that cannot be read now is tried again later.
            if let Ok(batch) = log.read() {
                more |= log.fold(batch, &mut self.runs.lock()[index]);
            }
        }
        self.runs.set_complete();
        if more {
            self.runs.notify();
        }
        more
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
