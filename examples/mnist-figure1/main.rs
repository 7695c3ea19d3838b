//! The program `mnist-figure1`: makes the paper's Figure 1, the same small network trained on MNIST with and without
//! batch normalisation.
//!
//! ```text
//! cargo run --release --example mnist-figure1 -- --data mnist --out runs/figure1
//! ```

mod figure;
mod mnist;
mod network;
mod training;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use bn_inception_examples::figure::Figure as _;
use bn_inception_examples::{Failure, WrongArgument, exit_code, write_file};
use bn_inception_train::OutputLock;
use clap::Parser;

use figure::Figure1;
use mnist::Mnist;
use training::{Course, Options};

/// See `train-imagenet`: large blocks are kept for the next step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Draw the paper's Figure 1: accuracy and input distributions with and without batch normalisation.
///
/// Trains both networks side by side on MNIST and writes figure1.svg, figure1.png, figure1.json and a
/// run folder for each network, with-bn and without-bn, which `dashboard` shows.
#[derive(Parser)]
#[command(name = "mnist-figure1", version, allow_negative_numbers = true)]
struct Arguments {
    /// Folder with MNIST's four idx files, compressed (.gz) or not [default: downloads them, if built
    /// with --features mnist-download]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Output folder
    #[arg(long, value_name = "DIR", default_value = "runs/figure1")]
    out: PathBuf,

    /// Training steps of each network (the paper: 50000)
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,

    /// Learning rate of both networks (the paper does not give it)
    #[arg(long, value_name = "F", default_value_t = 0.1)]
    lr: f64,

    /// Standard deviation of the initial weights of both networks (the paper: "small")
    #[arg(long, value_name = "F", default_value_t = 0.1)]
    init_std: f64,

    /// Seed of the initial weights and the order of the images
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let positive = |name: &str, value: f64| {
        if value.is_finite() && value > 0.0 {
            Ok(())
        } else {
            Err(WrongArgument(format!("--{name} is {value}, expected a positive number")))
        }
    };
    positive("lr", arguments.lr)?;
    positive("init-std", arguments.init_std)?;
    let data = match &arguments.data {
        Some(folder) => Mnist::read(folder)?,
        None => mnist::download()?,
    };
    let out = &arguments.out;
    fs::create_dir_all(out).map_err(|error| format!("cannot write {}: {error}", out.display()))?;
    let _lock = OutputLock::take(out, |line| eprintln!("{line}"))?;
    for (file, what) in [("figure1.json", "a figure"), ("with-bn/run.jsonl", "a run that was broken off")] {
        if out.join(file).exists() {
            return Err(format!("{} holds {what}; choose another --out", out.display()).into());
        }
    }

    let options = |batch_norm| Options {
        batch_norm,
        steps: arguments.steps,
        lr: arguments.lr,
        init_std: arguments.init_std,
        seed: arguments.seed,
        out: out.join(if batch_norm { "with-bn" } else { "without-bn" }),
    };
    let train = |batch_norm| {
        let options = options(batch_norm);
        // The message can be sent between threads, the error itself cannot.
        training::train(&data, &options).map_err(|error| error.to_string())
    };
    let train = &train;
    let (with, without) = thread::scope(|scope| {
        let with = scope.spawn(move || train(true));
        let without = train(false);
        let with = with.join();
        (with.unwrap_or_else(|_| Err("training panicked".to_owned())), without)
    });
    let courses = [with?, without?];
    write_results(arguments, &courses)?;
    for course in &courses {
        println!("{}", course.summary());
    }
    println!("figure: {}", out.join("figure1.svg").display());
    println!("runs, for `dashboard`: {}", out.display());
    Ok(ExitCode::SUCCESS)
}

fn write_results(arguments: &Arguments, courses: &[Course; 2]) -> Result<(), Failure> {
    let write = |name: &str, bytes: &[u8]| {
        let path = arguments.out.join(name);
        write_file(&path, bytes).map_err(|error| format!("cannot write {error}"))
    };
    write("figure1.svg", Figure1(courses).svg()?.as_bytes())?;
    write("figure1.png", &Figure1(courses).png()?)?;
    write("figure1.json", &serde_json::to_vec_pretty(courses)?)?;
    Ok(())
}
