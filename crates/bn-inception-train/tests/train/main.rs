//! Whole runs on small data: averaged weights, fine-tuning, resuming, telemetry, and wrong inputs.

#![allow(clippy::unwrap_used)] // a failed setup step is a failed test

mod averages;
mod common;
mod fine_tune;
mod ranks;
mod resume;
mod telemetry;
mod wrong_inputs;
