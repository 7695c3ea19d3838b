//! Teaches trained weights other classes.
//!
//! ```text
//! cargo run --release --example fine-tune
//! cargo run --release --example fine-tune -- --data flowers --freeze 4e
//! cargo run --release --example fine-tune -- --out runs/1 --resume
//! ```

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception::DeviceSpec;
use bn_inception_examples::run::{default_out, finish, status};
use bn_inception_train::{
    Choices, Display, Outcome, StopSignal, TrainConfig, TrainError, Trainer,
};
use clap::Parser;
