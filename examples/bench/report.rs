//! Measuring, and what is printed.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use bn_inception::LayerTime;
use bn_inception_examples::Failure;
use serde::Serialize;

/// Medians and bests are over calls; the time of a call is divided by its number of images.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) task: &'static str,
    pub(crate) device: String,
    /// Instruction set; absent if Burn's own operations run.
    pub(crate) isa: Option<&'static str>,
    pub(crate) batch: usize,
    pub(crate) threads: Option<usize>,
    pub(crate) input_size: usize,
    pub(crate) ms_per_image: f64,
    pub(crate) best_ms_per_image: f64,
    pub(crate) calls: usize,
    pub(crate) gmac_per_s: f64,
    /// Fraction of `threads` times one thread's peak; above 1 where Winograd's method saves more than everything else
    /// costs.
    pub(crate) peak_fraction: Option<f64>,
    pub(crate) peak_gmac_per_s: Option<f64>,
    /// Fraction of the time in which only one thread took processor time. Threads that wait for each other within the
    /// engine take it too: the rows `wait` of `--per-layer` count those.
    pub(crate) one_thread_share: Option<f64>,
    /// Inference: from the weight file on disk (or drawn weights) to the first logits, which is reading, folding,
    /// planning, packing, running. Training: drawing the weights, and the first step.
    pub(crate) first_result_ms: f64,
    pub(crate) peak_rss_mib: Option<f64>,
}

pub(crate) fn pixels(batch: usize, size: usize) -> Vec<f32> {
    let wave = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
    (0..batch * 3 * size * size).map(wave).collect()
}

/// Sorted durations of calls made for `seconds`, at least five.
pub(crate) fn measure(seconds: f64, mut call: impl FnMut() -> Duration) -> Vec<Duration> {
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
pub(crate) fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

pub(crate) fn print(report: &Report) -> io::Result<()> {
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
pub(crate) fn print_layers(
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
