//! The runs on show: their logs, folded into bounded memory.

mod bucket;
mod cells;
mod columns;
mod excerpt;
mod follower;
mod log;
mod series;
mod shown;
mod snapshots;
mod state;

pub(crate) use excerpt::Excerpt;
pub(crate) use follower::Follower;
pub(crate) use shown::{Run, Runs, Window};
