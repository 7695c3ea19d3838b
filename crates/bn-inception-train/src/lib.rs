//! Training of BN-Inception: from folders of image files to a weight file.
//!
//! # A whole run
//!
//! [`Trainer`] does what the program `train-imagenet` does. A [`TrainConfig`] states what to train on, where and how;
//! the results of the run depend on its [`Choices`] alone:
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
//!
//! A run that was stopped or killed continues with `resume: true` and ends with the same bits: everything is in its
//! [checkpoints](checkpoint), and the order of images, their augmentation and dropout depend on the seed and the step
//! alone. A [`Recipe`] is a training procedure, a row of the table [`RECIPES`]; with [`Choices::weights`] the run
//! fine-tunes trained weights. The result is a weight file, a [`RunSummary`] and a [run log](run_log).
//!
//! # Parts
//!
//! In the order of the data: [`data`] finds or draws the images and makes batches of them, the same for any number of
//! workers. [`cross_entropy`] is the loss and [`optim`] updates the weights; its documentation shows a custom training
//! loop. [`evaluate`](fn@evaluate) measures finished weights, and [`rank`](fn@rank) is the one rule for whether a
//! prediction is right.

mod calibration;
pub mod checkpoint;
mod config;
mod display;
mod error;
mod evaluate;
mod events;
pub mod group;
mod interrupt;
mod json_value;
mod lock;
mod observe;
pub mod optim;
mod output;
mod progress;
mod rank;
mod run;
mod settings;
mod step;
mod summary;
mod train_loop;
mod trainer;
mod versions;
mod weights;

pub use bn_inception_dashboard::run_log::Validation;
pub use bn_inception_dashboard::{self as dashboard, run_log};
pub use bn_inception_data as data;
pub use calibration::{Calibration, calibrate, calibration_error};
pub use config::{CheckpointEvery, TrainConfig};
pub use display::Display;
pub use error::TrainError;
pub use evaluate::{EvaluateError, Evaluation, evaluate};
pub use interrupt::StopSignal;
pub use lock::OutputLock;
pub use observe::{TELEMETRY_EVERY, percentile};
pub use progress::Progress;
pub use rank::{EvaluatedImage, rank};
pub use settings::{Choices, FineTune, RECIPES, Recipe, Schedule, Settings, SettingsError, UnknownRecipe};
pub use step::cross_entropy;
pub use summary::RunSummary;
pub use trainer::{Outcome, Trainer};
pub use versions::VERSIONS;
pub use weights::open_weights;
