//! A range of steps, read from the log again for a closer look.

use std::io;
use std::path::PathBuf;

use super::bucket::Position;
use super::shown::Run;
use super::state::{Curves, RunState};
use crate::run_log::{Event, LOG_FILE, LogReader};

/// Maximum length in bytes of the part of a log that is read: about 250,000 steps, in about a second.
const LONGEST: u64 = 48 << 20;

/// The curve whose points say where the steps are in the log.
const CLOCK: &str = "train/loss";

/// A part of a run's log, found but not yet read.
#[derive(Debug)]
pub struct Excerpt {
    path: PathBuf,
    /// Position of the run where the part begins.
    begins: Position,
    /// Offsets in the log.
    from: u64,
    to: u64,
}

impl Excerpt {
    /// The part of the log of `run` with the steps from `first` to `last`. `None` if it is too long, or if the run has
    /// no steps.
    pub fn find(run: &Run, first: u64, last: u64) -> Option<Self> {
        let clock = run.state.curve(CLOCK)?;
        let before = clock.before(first);
        let from = before.map_or(0, |bucket| bucket.offset);
        let to = clock.reaching(last).map_or(run.state.offset, |bucket| bucket.offset);
        let begins = before.map_or_else(Position::default, |bucket| bucket.position);
        let path = run.folder.join(LOG_FILE);
        (to.saturating_sub(from) <= LONGEST).then_some(Self { path, begins, from, to })
    }

    /// Reads it. The steps in it are folded as those of the whole log are, from where the run was before them.
    ///
    /// # Errors
    /// [`io::Error`] if the log cannot be read.
    pub fn read(&self) -> io::Result<Closer> {
        let mut reader = LogReader::open_at(&self.path, self.from)?;
        let mut state: Option<RunState> = None;
        while reader.offset() < self.to
            && let Some(record) = reader.next_record()?
        {
            let state = state.get_or_insert_with(|| {
                let took = if let Event::Step(facts) = &record.event { facts.seconds } else { 0.0 };
                RunState::continued(self.begins, record.time - if self.from > 0 { took } else { 0.0 })
            });
            state.fold(record, reader.offset());
        }
        Ok(Closer(state.unwrap_or_default()))
    }
}

/// A part of a run, as exact as its log up to the resolution of a chart.
#[derive(Debug)]
pub struct Closer(RunState);

impl Closer {
    /// Its curves called `names`.
    pub fn curves(&self, names: &[String]) -> Option<Curves<'_>> {
        self.0.curves(0, usize::MAX, |name| names.iter().any(|wanted| wanted == name))
    }
}
