//! Run logs of training and the dashboard that shows them. Knows nothing of networks or tensors.
//!
//! # Write a run log
//!
//! A run writes one file, `run.jsonl`: an [`Event`](run_log::Event) a line, as it happens. This one has two steps and
//! ends.
//!
//! ```
//! use bn_inception_dashboard::run_log::{Event, LOG_FILE, RunLog, Start, StepFacts, surviving};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join(LOG_FILE);
//! let log = RunLog::open(&path)?;
//! log.write(Event::Start(Box::new(Start { total_steps: 2, ..Start::default() })))?;
//! for step in 1..=2 {
//!     log.write(Event::Step(StepFacts { step, epoch: 1, loss: 1.0 / step as f64, ..StepFacts::default() }))?;
//! }
//! log.write(Event::Finished { step: 2 })?;
//!
//! // Read it back: every record that no later line makes void.
//! let mut losses = Vec::new();
//! for record in surviving(&path)? {
//!     if let Event::Step(facts) = record?.event {
//!         losses.push(facts.loss);
//!     }
//! }
//! assert_eq!(losses, [1.0, 0.5]);
//! # std::io::Result::Ok(())
//! ```
//!
//! [`run_log`] says what a line may hold and which lines count. A [`Journal`](run_log::Journal) passes events on to
//! sinks as they are written; [`TensorBoard`] is one.
//!
//! # Show runs
//!
//! [`Dashboard`] follows the logs of one or more runs into bounded memory and serves a page that shows and compares
//! them. It only reads the logs, so it runs in the training process or in any other. [`export`] writes the same page as
//! one file that needs no server.
//!
//! ```no_run
//! use bn_inception_dashboard::{Dashboard, DashboardConfig};
//!
//! let dashboard = Dashboard::open(DashboardConfig {
//!     runs: vec!["runs".into()],
//!     ..DashboardConfig::default()
//! })?;
//! println!("{}", dashboard.url());
//! dashboard.wait();
//! # Ok::<(), bn_inception_dashboard::DashboardError>(())
//! ```

mod access;
mod connections;
mod dashboard;
mod error;
mod export;
mod page;
mod query;
pub mod run_log;
mod runs;
mod server;
mod stream;
mod tensorboard;
#[cfg(test)]
mod tests;

pub use dashboard::{DEFAULT_ADDRESS, Dashboard, DashboardConfig};
pub use error::DashboardError;
pub use export::export;
pub use server::StopAction;
pub use tensorboard::TensorBoard;

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
