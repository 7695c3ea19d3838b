//! The interface to everything that shows a run.

use crate::step::Scores;
use bn_inception_dashboard::run_log::Event;

/// The extent of a run, and the place in it where this process begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub total_steps: u64,
    pub total_epochs: usize,
    /// Training images of an epoch.
    pub train_images: usize,
    pub val_images: usize,
    pub classes: usize,
    /// Epochs that are over.
    pub epoch: usize,
    /// Images of the epoch under way that are trained on.
    pub images: usize,
}

/// Something that shows a run.
pub(crate) trait Screen {
    /// Shows an event of the run log.
    fn event(&mut self, event: &Event);

    /// Shows one batch of the validation under way, which is too little for the log.
    fn validation_batch(&mut self, scores: &Scores);

    /// True once the user has asked here for the end of the run.
    fn wants_stop(&self) -> bool {
        false
    }
}
