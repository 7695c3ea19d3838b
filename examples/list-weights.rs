//! The program `list-weights`: prints the weights that can be asked for by name.
//!
//! ```text
//! cargo run --release --example list-weights
//! cargo run --release --example list-weights -- --json
//! ```

use std::io::{self, Write};
use std::process::ExitCode;

use bn_inception::data::{ColorOrder, PixelRange};
use bn_inception::weights::registry::{Entry, entries};
use bn_inception::weights::{Location, Store};
use bn_inception_examples::{Failure, exit_code};
use clap::Parser;
use serde::Serialize;

/// List the weights that can be asked for by name, and where their files are.
#[derive(Parser)]
#[command(name = "list-weights", version)]
struct Arguments {
    /// Print everything that is known about them as one JSON array
    #[arg(long)]
    json: bool,
}

/// An entry and the location of its file.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    entry: &'static Entry,
    place: &'static str,
    path: Option<String>,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let store = Store::new();
    let mut out = io::stdout().lock();
    if arguments.json {
        let listed: Vec<Listed> = entries().iter().map(|entry| listed(&store, entry)).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&listed)?)?;
    } else {
        table(&mut out, &store)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(store: &Store, entry: &'static Entry) -> Listed {
    let path = entry.source().and_then(|source| store.path(&source));
    Listed { entry, place: place(store, entry), path: path.map(|path| path.display().to_string()) }
}

fn place(store: &Store, entry: &Entry) -> &'static str {
    match entry.source().map(|source| store.location(&source)) {
        None => "built in",
        Some(Location::Cached) => "in the cache",
        Some(Location::Absent) => "to download",
    }
}

fn table(out: &mut impl Write, store: &Store) -> io::Result<()> {
    writeln!(
        out,
        "{:<12} {:<13} {:>7}  {:<16} {:>6} {:>6} {:>8}  {:<12}  licence",
        "name", "network", "classes", "input", "top-1", "top-5", "file", "where"
    )?;
    for entry in entries() {
        let network = match entry.width {
            1.0 => entry.preset.name().to_owned(),
            width => format!("{} x {width}", entry.preset),
        };
        let size = entry.size.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        writeln!(
            out,
            "{:<12} {network:<13} {:>7}  {:<16} {:>6.2} {:>6.2} {:>8}  {:<12}  {}",
            entry.name,
            entry.classes,
            input(entry),
            entry.accuracy.top1,
            entry.accuracy.top5,
            size.as_deref().unwrap_or("?"),
            place(store, entry),
            entry.licence
        )?;
    }
    writeln!(out, "\naccuracy in percent, as reported by those named in --json")?;
    match store.folder() {
        Some(folder) => writeln!(out, "cache: {}", folder.display()),
        None => writeln!(out, "cache: none; set BN_INCEPTION_HOME to a folder"),
    }
}

/// `224 px BGR 0-255`.
fn input(entry: &Entry) -> String {
    let color = match entry.preprocess.color {
        ColorOrder::Rgb => "RGB",
        ColorOrder::Bgr => "BGR",
    };
    let range = match entry.preprocess.range {
        PixelRange::Byte => "0-255",
        PixelRange::Unit => "0-1",
        PixelRange::Signed => "±1",
    };
    format!("{} px {color} {range}", entry.preprocess.size)
}
