//! `run.jsonl`, the log of a training run: one JSON object a line, written as things happen.
//!
//! The log is append-only and every line is flushed, so another process may follow it while the run goes on. Every line
//! has `schema` ([`SCHEMA`]), `time` (seconds since 1970) and `event`.
//!
//! A resumed run begins with a `resume` line. Lines of later steps than the one it names belong to the killed process:
//! that work was lost and is done again in the lines that follow, so a reader drops them. A second `start` line makes
//! everything before it void: that run died before it had saved anything.
//!
//! - [`RunLog`] appends events; [`Journal`] also passes them on to [`Sink`]s such as
//!   [`TensorBoard`](crate::TensorBoard).
//! - [`surviving`] reads the records that count. [`LogReader`] follows a log of any length that may still grow.
//! - [`Event`] is one thing that happened, with its numbers; a [`Record`] is an event with its time.

mod event;
mod journal;
mod picture;
mod ranks;
mod reader;
mod record;
mod start;
mod surviving;
mod telemetry;
#[cfg(test)]
pub(crate) mod tests;
mod validation;
mod writer;

pub use event::{Event, Rewind, StepFacts, WarningKind};
pub use journal::{Journal, Sink};
pub use picture::{FilterGrid, GradCam, Overlay, Picture};
pub use ranks::{RankFacts, RankReport};
pub use reader::{LogReader, MAX_LINE};
pub use record::{LOG_FILE, Record, SCHEMA};
pub use start::Start;
pub use surviving::surviving;
pub use telemetry::{ActivationPercentiles, BlockTelemetry, GpuSample, Histogram, SystemSample, Telemetry};
pub use validation::{
    ClassCount, ConfusedPair, Confusion, MATRIX_CLASSES, Sample, TOP_CONFUSIONS, Validation, ValidationReport,
};
pub use writer::RunLog;
