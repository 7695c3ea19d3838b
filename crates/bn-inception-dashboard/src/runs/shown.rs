//! The runs on show, shared between the reading thread and the server.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use super::state::{Changes, RunState};

/// Number of runs that a page shows at a time.
pub const PAGE: usize = 64;

/// A run on show.
#[derive(Debug, Default)]
pub struct Run {
    /// Identity of the log, other than that of earlier logs in the same folder. Empty before the first record.
    pub key: String,
    /// Number of runs found before it. Runs that vanish leave a gap, so that the others keep their place and colour.
    pub number: usize,
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
    /// Place of the run among all, where it replaces a run with another key.
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
    pub fn message(&self, since: u64) -> Option<Message<'_>> {
        Some(Message {
            index: self.number,
            key: &self.key,
            name: &self.name,
            read: [self.state.offset, self.size],
            skipped: self.skipped,
            changes: self.state.since(since)?,
        })
    }
}

/// The part of the runs that a page shows.
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
        assert_eq!(page(130, 0), 66..130);
        assert_eq!(page(130, 1), 2..66);
        assert_eq!(page(130, 2), 0..64);
        assert_eq!(page(130, usize::MAX), 0..64);
    }
}
