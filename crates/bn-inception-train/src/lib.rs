//! Training of BN-Inception: from folders of image files to a weight file.
//!
//! [`Trainer`] is the whole way, as the program `train-imagenet` goes it. Its parts, in the order of the data:
//!
//! - [`bn_inception_data`]: folders of images, decoded, augmented and batched, the same for any number of workers.
//! - [`recipe`], [`schedule`], [`sgd`], [`ema`], [`clip`]: how weights change.
//! - [`mod@fine_tune`]: a run that starts from trained weights.
//! - [`checkpoint`]: runs that are killed go on where they were, to the same bits.
//! - [`run_log`], [`summary`], [`console`]: what happened, for programs and for people.
//! - [`evaluate`](mod@evaluate): the accuracy of finished weights.
//!
//! ```no_run
//! use bn_inception_train::{Choices, Outcome, StopSignal, TrainConfig, Trainer};
//!
//! let config = TrainConfig {
//!     data: Some("imagenette".into()),
//!     choices: Choices { width: Some(0.5), image_size: Some(128), ..Choices::default() },
//!     ..TrainConfig::new("runs/imagenette")
//! };
//! let trainer = Trainer::new(config, |line| println!("{line}"))?;
//! if let Outcome::Finished(summary) = trainer.run(&StopSignal::default())? {
//!     println!("top-1 {:.1} %", 100.0 * summary.val_top1);
//! }
//! # Ok::<(), bn_inception_train::TrainError>(())
//! ```

pub mod checkpoint;
pub mod checkpoint_folder;
pub mod clip;
pub mod console;
pub mod ema;
pub mod error;
pub mod evaluate;
pub mod fine_tune;
pub mod interrupt;
pub mod meter;
mod metric_log;
mod observe;
mod output;
pub mod parameters;
pub mod progress;
mod rank;
pub mod recipe;
mod restore;
mod run;
pub mod schedule;
pub mod settings;
pub mod sgd;
pub mod step;
mod strategy;
pub mod summary;
mod terminal;
pub mod trainer;

pub use bn_inception_dashboard as dashboard;
/// The run log, see [`bn_inception_dashboard::run_log`].
pub mod run_log {
    pub use bn_inception_dashboard::TensorBoard;
    pub use bn_inception_dashboard::run_log::*;
}
pub use bn_inception_data::{
    self as augment, self as broken, self as dataset, self as loader, drawn,
};
pub use error::TrainError;
pub use interrupt::StopSignal;
pub use observe::{TELEMETRY_EVERY, percentile};
pub use rank::rank;
pub use run::CheckpointEvery;
pub use settings::{Choices, Settings};
pub use summary::Summary;
pub use trainer::{Display, Outcome, TrainConfig, Trainer};
