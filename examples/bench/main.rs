//! The program `bench`: measures how fast this machine runs the network.
//!
//! ```text
//! cargo run --release --example bench -- --batch 8 --threads 2
//! cargo run --release --example bench -- --per-layer
//! cargo run --release --example bench -- --weights model.safetensors --json
//! cargo run --release --example bench -- --task train --batch 32 --per-layer
//! cargo run --release --example bench -- --weights bn_inception-52deb4733.pth --preset caffe
//! ```

mod infer;
mod train;

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bn_inception::{BnInceptionConfig, DeviceSpec, LayerTime, Preset};
use bn_inception_examples::{Downloads, Failure, exit_code};
use clap::{Parser, ValueEnum};
use serde::Serialize;

// Keeps the memory of a step for the next: the system's allocator returns large buffers, and faults them in again page by
// page.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure inference or training: milliseconds per image, multiply-adds per second, memory.
///
/// The multiply-adds are those of the direct method whatever the algorithm, so that more per second is faster; the
/// peak is what multiply-add instructions alone reach, measured in the same run.
#[derive(Parser)]
#[command(name = "bench", version, allow_negative_numbers = true)]
struct Arguments {
    /// What to measure
    #[arg(long, value_enum, default_value_t = Task::Infer)]
    task: Task,

    /// Images per call, or in a training step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Numbers to compute with
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,

    /// Threads on a CPU [default: RAYON_NUM_THREADS, or one for each processor core]
    #[arg(long, value_name = "T")]
    threads: Option<NonZeroUsize>,

    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = seconds)]
    seconds: f64,

    /// Weight file, or a name that list-weights prints [default: drawn weights for --preset]
    #[arg(long, value_name = "PATH|NAME")]
    weights: Option<String>,

    /// Network: paper, caffe, onnx, mxnet, tf_slim or small; with --weights, the one of another project's file
    /// [default: caffe]
    #[arg(long, value_name = "NAME")]
    preset: Option<Preset>,

    /// Multiplier of the channels of --preset
    #[arg(long, value_name = "X", conflicts_with = "weights")]
    width: Option<f64>,

    /// Height and width of the images [default: those of the preset or the weights]
    #[arg(long, value_name = "PX")]
    input_size: Option<usize>,

    #[command(flatten)]
    downloads: Downloads,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    /// Print time, algorithm and fraction of the peak of every layer (CPU)
    #[arg(long)]
    per_layer: bool,

    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Task {
    /// Forward passes of the folded network
    Infer,
    /// Training steps: forward and backward pass, SGD with momentum
    Train,
}

#[derive(Clone, Copy, ValueEnum)]
enum Precision {
    /// 32-bit floats
    F32,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0 to 86400".to_owned()),
    }
}

/// Medians and bests are over calls; the time of a call is divided by its number of images.
#[derive(Serialize)]
struct Report {
    task: &'static str,
    device: String,
    /// Instruction set; absent if Burn's own operations run.
    isa: Option<&'static str>,
    batch: usize,
    threads: Option<usize>,
    input_size: usize,
    ms_per_image: f64,
    best_ms_per_image: f64,
    calls: usize,
    gmac_per_s: f64,
    /// Fraction of `threads` times one thread's peak; above 1 where Winograd's method saves more than everything else
    /// costs.
    peak_fraction: Option<f64>,
    peak_gmac_per_s: Option<f64>,
    /// Fraction of the time in which only one thread worked, from the processor time of the process.
    one_thread_share: Option<f64>,
    /// From the weight file on disk (or drawn weights) to the first logits: reading, folding, planning, packing,
    /// running.
    first_result_ms: f64,
    peak_rss_mib: Option<f64>,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Precision::F32 = arguments.precision;
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

impl Arguments {
    /// The network to measure without weights.
    fn config(&self) -> Result<BnInceptionConfig, Failure> {
        let mut config = self.preset.unwrap_or(Preset::Caffe).config();
        config.width = self.width.unwrap_or(config.width);
        config.input_size = self.input_size.unwrap_or(config.input_size);
        config.validate()?;
        Ok(config)
    }
}

fn pixels(batch: usize, size: usize) -> Vec<f32> {
    let wave = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
    (0..batch * 3 * size * size).map(wave).collect()
}

/// Sorted durations of calls made for `seconds`, at least five.
fn measure(seconds: f64, mut call: impl FnMut() -> Duration) -> Vec<Duration> {
    for _ in 0..3 {
        call();
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || start.elapsed().as_secs_f64() < seconds {
        times.push(call());
    }
    times.sort();
    times
}

/// Peak memory of the process, if the system reports it.
fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn print(report: &Report) -> io::Result<()> {
    let mut out = io::stdout();
    let on = match (report.isa, report.threads) {
        (Some(isa), Some(threads)) => format!("{}, {isa}, {threads} threads", report.device),
        _ => report.device.clone(),
    };
    writeln!(
        out,
        "{on}, batch {}, {} pixels: {:.2} ms/image (best {:.2}, {} calls)",
        report.batch, report.input_size, report.ms_per_image, report.best_ms_per_image, report.calls
    )?;
    write!(out, "{:.1} G multiply-adds/s", report.gmac_per_s)?;
    if let (Some(fraction), Some(peak)) = (report.peak_fraction, report.peak_gmac_per_s) {
        write!(out, ", {:.0} % of the peak of {peak:.1}", 100.0 * fraction)?;
    }
    write!(out, "; first result after {:.0} ms", report.first_result_ms)?;
    if let Some(share) = report.one_thread_share {
        write!(out, "; one thread alone {:.0} % of the time", 100.0 * share)?;
    }
    match report.peak_rss_mib {
        Some(mib) => writeln!(out, "; at most {mib:.0} MiB"),
        None => writeln!(out),
    }
}

/// Table of the best time of each layer or step in as many profiles as fit into `seconds`.
fn print_layers(
    batch: usize,
    seconds: f64,
    peak: f64,
    mut profile: impl FnMut() -> Result<Vec<LayerTime>, Failure>,
) -> Result<(), Failure> {
    let (start, mut best) = (Instant::now(), profile()?);
    while start.elapsed().as_secs_f64() < seconds {
        for (best, layer) in best.iter_mut().zip(profile()?) {
            best.time = best.time.min(layer.time);
        }
    }
    let mut out = io::stdout();
    let width = best.iter().map(|layer| layer.name.len()).max().unwrap_or(0).max(24);
    writeln!(out, "{:width$} {:>8} {:>8} {:>6}", "layer and algorithm", "MMAC", "ms/image", "peak")?;
    let per_image = |time: Duration| time.as_secs_f64() * 1e3 / batch as f64;
    for LayerTime { name, macs, time } in &best {
        let (mega, ms) = (*macs as f64 / 1e6 / batch as f64, per_image(*time));
        let fraction = 100.0 * mega / ms / peak;
        writeln!(out, "{name:width$} {mega:8.1} {ms:8.3} {fraction:5.0}%")?;
    }
    let sum = best.iter().map(|layer| layer.time).sum();
    writeln!(out, "{:width$} {:>8} {:8.3}", "sum of the best", "", per_image(sum))?;
    Ok(())
}
