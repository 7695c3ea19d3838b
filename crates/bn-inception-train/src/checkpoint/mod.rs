//! Checkpoints: everything needed to continue a run as if it had never stopped, one file each.

mod file;
mod fit;
mod folder;

pub(crate) use file::KEY;
pub use file::{Arrays, Checkpoint, CheckpointError, DataFacts};
pub use folder::CheckpointFolder;
