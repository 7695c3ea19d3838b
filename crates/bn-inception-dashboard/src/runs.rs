//! The runs on show: their logs, folded into bounded memory.

mod follower;
mod series;
mod snapshots;
mod state;

pub(crate) use follower::{Follower, MOST_RUNS, Runs};
