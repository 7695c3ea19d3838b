//! The interface of everything that displays a run.

use bn_inception_dashboard::run_log::Event;

use crate::step::Scores;

/// The extent of a run, and the position at which this process starts.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunExtent {
    pub total_steps: u64,
    pub total_epochs: usize,
    /// Training images of an epoch.
    pub train_images: usize,
    pub val_images: usize,
    pub classes: usize,
    /// Completed epochs.
    pub epoch: usize,
    /// Images already trained on in the current epoch.
    pub images: usize,
}

/// A display of a run.
pub(crate) trait Screen {
    /// Shows an event of the run log.
    fn event(&mut self, event: &Event);

    /// Shows one batch of the current validation, which is too small an event for the log.
    fn validation_batch(&mut self, scores: &Scores);

    /// True once the user has asked the display to stop the run.
    fn wants_stop(&self) -> bool {
        false
    }
}
