//! A program that reads damaged files until its time is over or a reader fails.
//!
//! ```text
//! cargo run -p bn-inception-formats --example fuzz_readers -- pth --seconds 300 --seed 0
//! ```
//!
//! The files are real ones, damaged by bit flips, truncation, splices and false lengths. A panic, an answer that
//! contradicts itself, or more memory than `limits::ALLOCATION_FACTOR` times the size of the file and
//! `limits::ALLOCATION_SLACK` ends the run: it saves the file and prints the seed that makes it again. `fuzz-NAME.seed`
//! holds the seed of the file being read, in case the process itself dies.

#[path = "../tests/damaged/mod.rs"]
mod damaged;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Feed damaged files to a reader.
#[derive(Parser)]
struct Arguments {
    /// pth, onnx, params, caffemodel, safetensors or bpk
    reader: String,

    /// Duration of the run in seconds
    #[arg(long, default_value_t = 300)]
    seconds: u64,

    /// Seed of the first file; the next has the next number
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Folder for a file that makes a reader fail
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(seeds) = damaged::seeds(&arguments.reader) else {
        let known = damaged::READERS.map(|(name, _)| name).join(", ");
        eprintln!("error: no reader `{}`, expected one of: {known}", arguments.reader);
        return ExitCode::FAILURE;
    };
    // A panic is reported below, with the seed that reproduces it.
    std::panic::set_hook(Box::new(|_| ()));
    let name = &arguments.reader;
    let current = arguments.out.join(format!("fuzz-{name}.seed"));
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let (mut files, mut accepted) = (0u64, 0u64);
    while Instant::now() < end {
        let seed = arguments.seed.wrapping_add(files);
        if let Err(error) = fs::write(&current, seed.to_string()) {
            eprintln!("error: {}: {error}", current.display());
            return ExitCode::FAILURE;
        }
        match damaged::once(&seeds, seed, &MEMORY) {
            Ok(whole) => accepted += u64::from(whole),
            Err(failure) => {
                let path = arguments.out.join(format!("fuzz-{name}-{seed}"));
                let saved = fs::write(&path, &failure.input);
                eprintln!("error: seed {seed}: {} ({}: {saved:?})", failure.reason, path.display());
                return ExitCode::FAILURE;
            }
        }
        files += 1;
    }
    let _ = fs::remove_file(&current);
    println!("{name}: {files} damaged files, {accepted} of them still readable, nothing broke");
    ExitCode::SUCCESS
}
