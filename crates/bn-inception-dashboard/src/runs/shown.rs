//! The runs on show, shared between the reading thread and the server.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use super::state::{Curves, Details, RunState, Summary};

/// Number of runs that a page lists at a time.
const PAGE: usize = 256;

/// A run on show.
#[derive(Debug, Default)]
pub struct Run {
    /// Identity of the log, other than that of earlier logs in the same folder. Empty before the first record.
    pub key: String,
    /// Number of runs found before it. Runs that vanish leave a gap, so that the others keep their place and colour.
    pub number: usize,
    /// Folder of the log.
    pub folder: PathBuf,
    /// Last two parts of its path.
    pub name: String,
    /// Length of the log in bytes.
    pub size: u64,
    /// Number of lines that are no records.
    pub skipped: u64,
    /// The records read, folded.
    pub state: RunState,
}

/// Changes of a run's summary, as sent to a page.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    /// Place of the run among all, where it replaces a run with another key.
    index: usize,
    key: &'a str,
    name: &'a str,
    /// Bytes of the log read, and its length.
    read: [u64; 2],
    skipped: u64,
    #[serde(flatten)]
    summary: Summary<'a>,
}

impl Run {
    /// Changes for a page that has seen the log up to byte `since`, or `None` without any.
    pub fn message(&self, since: u64) -> Option<Message<'_>> {
        Some(Message {
            index: self.number,
            key: &self.key,
            name: &self.name,
            read: [self.state.offset, self.size],
            skipped: self.skipped,
            summary: self.state.summary(since)?,
        })
    }

    /// Changes of its own panels for a page that has seen the log up to byte `since`.
    pub fn details(&self, since: u64) -> Details<'_> {
        self.state.details(since)
    }

    /// Changes of the curves that are `wanted`, in at most `points` points each, or `None` without any.
    pub fn curves(&self, since: u64, points: usize, wanted: impl Fn(&str) -> bool) -> Option<Curves<'_>> {
        self.state.curves(since, points, wanted)
    }
}

/// The part of the runs that a page lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Keys of its runs, in their order.
    pub runs: Vec<String>,
    /// Number of runs before it.
    from: usize,
    /// Number of all runs.
    total: usize,
    /// Every log has been opened, so a run that is not among all is gone.
    complete: bool,
}

/// The runs on show.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Mutex<Vec<Run>>,
    complete: AtomicBool,
    changed: watch::Sender<u64>,
}

impl Runs {
    /// The runs at present. A panic of another holder is ignored: a state with half a record folded in is still worth
    /// showing.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runs that have begun, of the page `older` pages before the newest.
    pub fn window(&self, older: usize) -> Window {
        let runs = self.lock();
        let begun: Vec<_> = runs.iter().filter(|run| !run.key.is_empty()).collect();
        let Range { start, end } = page(begun.len(), older);
        Window {
            runs: begun[start..end].iter().map(|run| run.key.clone()).collect(),
            from: start,
            total: begun.len(),
            complete: self.complete.load(Ordering::Acquire),
        }
    }

    /// Notes that every log has been opened.
    pub fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// Notification of records read and runs gone.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Notifies pages of a change.
    pub fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// The part of `total` runs on the page `older` pages before the newest; the first page is never almost empty.
fn page(total: usize, older: usize) -> Range<usize> {
    let end = total.saturating_sub(older.saturating_mul(PAGE)).max(PAGE.min(total));
    end.saturating_sub(PAGE)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_every_run_and_the_newest_first() {
        assert_eq!(page(0, 0), 0..0);
        assert_eq!(page(5, 0), 0..5);
        assert_eq!(page(520, 0), 264..520);
        assert_eq!(page(520, 1), 8..264);
        assert_eq!(page(520, 2), 0..256);
        assert_eq!(page(520, usize::MAX), 0..256);
    }
}
