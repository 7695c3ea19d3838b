//! Training.
pub mod drawn;
pub mod evaluate;

pub mod augment;
pub mod broken;
pub mod dataset;
mod epoch;
pub mod loader;
mod prefetch;

pub mod checkpoint;
pub mod checkpoint_folder;
pub mod clip;
pub mod console;
pub mod ema;
pub mod error;
pub mod interrupt;
pub mod meter;
mod metric_log;
mod output;
pub mod parameters;
pub mod progress;
mod rank;
pub mod recipe;
mod restore;
mod run;
pub mod run_log;
pub mod schedule;
pub mod settings;
pub mod sgd;
pub mod step;
mod strategy;
pub mod summary;
pub mod trainer;

pub use error::TrainError;
pub use interrupt::StopSignal;
pub use run::CheckpointEvery;
pub use settings::{Choices, Settings};
pub use summary::Summary;
pub use trainer::{Display, Outcome, TrainConfig, Trainer};
