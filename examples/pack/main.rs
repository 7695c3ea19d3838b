//! The program `pack`: copies a dataset into WebDataset shards, with smaller photographs if wanted.
//!
//! ```text
//! cargo run --release --example pack -- --from imagenet --to imagenet-256 --short-side 256
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception_examples::{Failure, exit_code};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use shrink::Shrink;

mod image;
mod keys;
mod rows;
mod shards;
mod shrink;
mod source;

/// Copy a dataset into WebDataset shards, *-train-*.tar and *-val-*.tar, which training reads without unpacking them.
/// Started again, it goes on with the shards that are missing.
#[derive(Parser)]
#[command(name = "pack", version)]
struct Arguments {
    /// Dataset: whatever --data of train-imagenet takes, or a folder of Parquet files as of Hugging Face's imagenet-1k
    #[arg(long, value_name = "SRC")]
    from: PathBuf,

    /// Folder of the shards
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Scale larger images to this short side, in pixels, and write them as JPEG [default: keep every file's bytes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=8192))]
    short_side: Option<u32>,

    /// Quality of the JPEG files, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 90, requires = "short_side",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,

    /// Images in a shard
    #[arg(long, value_name = "N", default_value_t = 1250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    shard_size: u32,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { from, to, short_side, quality, shard_size } = arguments;
    let parts = source::open(from)?;
    let shrink = short_side.map(|short_side| Shrink { short_side, quality: *quality });
    let plan = shards::Plan::new(&parts, shrink, *shard_size as usize);
    plan.claim(to)?;
    let bar = ProgressBar::new(parts.iter().map(|part| part.images.len() as u64).sum())
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} images  {per_sec}  ETA {eta}")?);
    let mut kept = 0;
    for part in &parts {
        kept += shards::write(part, &plan, to, |images| bar.inc(images as u64))?;
    }
    bar.finish_and_clear();
    if kept > 0 {
        eprintln!("warning: {kept} files are no images that can be decoded; they were copied as they are");
    }
    for part in &parts {
        let found = shards::check(part, to)?;
        println!("{}: {} images of {} classes in {}", part.split, found.len(), found.classes().len(), to.display());
    }
    Ok(ExitCode::SUCCESS)
}
