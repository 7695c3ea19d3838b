//! The program `bench`: measures how fast this machine runs the network.
//!
//! ```text
//! cargo run --release --example bench -- --batch 8 --threads 2
//! cargo run --release --example bench -- --per-layer
//! cargo run --release --example bench -- --weights model.safetensors --json
//! cargo run --release --example bench -- --task train --batch 32 --per-layer
//! cargo run --release --example bench -- --weights bn_inception-52deb4733.pth --preset caffe
//! ```

mod arguments;
mod infer;
mod report;
mod train;

use std::io::{self, Write as _};
use std::process::ExitCode;

use bn_inception::DeviceSpec;
use bn_inception_examples::{Failure, exit_code};
use clap::Parser as _;

use arguments::{Arguments, Task};

// Keeps the memory of a step for the next: the system's allocator returns large buffers, and faults them in again page by
// page.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let opened = arguments.device.parse::<DeviceSpec>()?.open()?;
    let report = match arguments.task {
        Task::Infer => infer::run(arguments, &opened)?,
        Task::Train => train::run(arguments, &opened)?,
    };
    if arguments.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
