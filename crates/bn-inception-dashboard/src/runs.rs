//! The runs on show: their logs, folded into bounded memory.

mod follower;
mod log;
mod series;
mod shown;
mod snapshots;
mod state;

pub(crate) use follower::Follower;
pub(crate) use shown::{PAGE, Runs, Window};
