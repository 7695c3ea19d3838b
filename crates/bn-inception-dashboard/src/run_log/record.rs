//! One line of a log.

use serde::{Deserialize, Serialize};

use super::event::Event;

/// File name of the log in a run's output folder.
pub const LOG_FILE: &str = "run.jsonl";

/// Version of the line format, which changes when a field changes its meaning or goes away. Fields and events may be
/// added at any time. Version 1 had fewer of both and is read as well.
pub const SCHEMA: u32 = 2;

/// One line of a log: an event and its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the format it was written in, see [`SCHEMA`].
    pub schema: u32,
    /// Time of writing, in seconds since 1970.
    pub time: f64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}
