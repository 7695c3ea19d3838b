//! The one stream of a run's events, read by log, TensorBoard, dashboard and screen.

use std::path::Path;

use bn_inception_dashboard::TensorBoard;
use bn_inception_dashboard::run_log::{Event, Journal, LOG_FILE, RunLog, Sink};

use crate::display::Screen;
use crate::error::TrainError;
use crate::output::TENSORBOARD_FOLDER;
use crate::step::Scores;

/// The stream. Every event enters it once.
pub(crate) struct Events {
    /// `None` on all ranks but the first.
    journal: Option<Journal>,
    screen: Option<Box<dyn Screen>>,
}

impl Events {
    /// A stream into the log in the folder `out`, which the dashboard reads, and, if `tensorboard` is set, into
    /// TensorBoard's files.
    pub(crate) fn open(out: &Path, tensorboard: bool) -> Result<Self, TrainError> {
        let path = out.join(LOG_FILE);
        let log = RunLog::open(&path).map_err(TrainError::output(&path))?;
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if tensorboard {
            let folder = out.join(TENSORBOARD_FOLDER);
            let sink = TensorBoard::create(&folder).map_err(TrainError::output(&folder))?;
            sinks.push(Box::new(sink));
        }
        Ok(Self { journal: Some(Journal::new(log, sinks)), screen: None })
    }

    /// A stream without readers.
    pub(crate) fn unread() -> Self {
        Self { journal: None, screen: None }
    }

    /// The log with its sinks, for events of other threads.
    pub(crate) fn journal(&self) -> Option<Journal> {
        self.journal.clone()
    }

    /// Shows all further events on `screen`.
    pub(crate) fn show_on(&mut self, screen: Option<Box<dyn Screen>>) {
        self.screen = screen;
    }

    /// Passes an event on to every reader.
    pub(crate) fn send(&mut self, event: Event) -> Result<(), TrainError> {
        if let Some(screen) = &mut self.screen {
            screen.event(&event);
        }
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let written = journal.record(event);
        written.map_err(TrainError::output(journal.path()))
    }

    /// Shows a batch of the current validation.
    pub(crate) fn validation_batch(&mut self, scores: &Scores) {
        if let Some(screen) = &mut self.screen {
            screen.validation_batch(scores);
        }
    }

    /// True once the user has asked the screen to stop the run.
    pub(crate) fn wants_stop(&self) -> bool {
        self.screen.as_ref().is_some_and(|screen| screen.wants_stop())
    }

    /// Restores the terminal.
    pub(crate) fn close_screen(&mut self) {
        self.screen = None;
    }

    /// Lets the log's sinks finish.
    pub(crate) fn close(&mut self) {
        self.close_screen();
        if let Some(journal) = &self.journal {
            journal.close();
        }
    }
}
