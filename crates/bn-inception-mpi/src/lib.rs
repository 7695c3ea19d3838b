//! Data-parallel training over MPI.
//!
//! ```no_run
//! # #[cfg(feature = "mpi")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use bn_inception_mpi::Mpi;
//! use bn_inception_train::{Choices, StopSignal, TrainConfig, Trainer};
//!
//! let mpi = Mpi::start(Duration::from_secs(1800))?;
//! let config = TrainConfig {
//!     data: Some("imagenet".into()),
//!     choices: Choices { accumulate: Some(mpi.group().size()), ..Choices::default() },
//!     ..TrainConfig::new("runs/imagenet")
//! };
//! mpi.report_checkpoints_of(&config.out);
//! let trained = Trainer::with_group(config, mpi.group(), |line| println!("{line}"))
//!     .and_then(|trainer| trainer.run(&StopSignal::default()));
//! if let Err(error) = trained {
//!     mpi.fail(&error.to_string(), 1);
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "mpi"))]
//! # fn main() {}
//! ```
#![cfg(feature = "mpi")]

mod group;
mod last_words;
mod session;
mod watch;

pub use session::{Mpi, MpiError};
