//! Speed of the inference engine on the full network with random weights, and of each of its layers.
//!
//! `cargo run --example infer_kernels -- [batch] [threads] [seconds] [algorithm] [size]`; the algorithm is `auto`,
//! `direct`, `f2` or `f4`. `BN_INCEPTION_ISA` selects an instruction set.

#[path = "../tests/kernels/common.rs"]
mod common;
#[path = "../tests/kernels/networks.rs"]
mod networks;

use bn_inception_kernels::infer::{Algorithm, Engine, LayerTime, NetworkError, Options};
use std::time::{Duration, Instant};

fn main() -> Result<(), NetworkError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: f64| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (batch, threads, seconds) = (number(0, 1.0) as usize, number(1, 2.0) as usize, number(2, 2.0));
    let size = number(4, 224.0) as usize;
    let algorithm = match arguments.get(3).map(String::as_str) {
        Some("direct") => Some(Algorithm::Direct),
        Some("f2") => Some(Algorithm::F2),
        Some("f4") => Some(Algorithm::F4),
        _ => None,
    };
    let network = networks::network(&networks::VARIANTS[0], 1.0, 1000);
    let options = Options { threads: threads.try_into().ok(), algorithm, ..Options::default() };
    let start = Instant::now();
    let engine = Engine::new(network, &options)?;
    let images = common::random(batch * 3 * size * size, 1);
    let mut logits = vec![0.0; batch * 1000];
    let extents = [batch, size, size];
    engine.forward(&images, extents, &mut logits)?;
    println!("first call after {:.0} ms", start.elapsed().as_secs_f64() * 1e3);

    let mut best: Vec<LayerTime> = engine.profile(&images, extents, &mut logits)?;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds / 2.0 {
        let begin = Instant::now();
        engine.forward(&images, extents, &mut logits)?;
        times.push(begin.elapsed());
    }
    while start.elapsed().as_secs_f64() < seconds {
        for (best, layer) in best.iter_mut().zip(engine.profile(&images, extents, &mut logits)?) {
            best.time = best.time.min(layer.time);
        }
    }
    times.sort();
    let peak = engine.peak() * threads as f64;
    let ms = |time: Duration| time.as_secs_f64() * 1e3 / batch as f64;
    println!("{:24} {:>8} {:>8} {:>6}", "layer", "MMAC", "ms/image", "peak");
    for LayerTime { name, macs, time } in &best {
        let (macs, ms) = (*macs as f64 / batch as f64, ms(*time));
        println!("{name:24} {:8.1} {ms:8.3} {:5.0}%", macs / 1e6, 100.0 * macs / (ms / 1e3) / peak);
    }
    println!("{:24} {:>8} {:8.3}", "sum of the best", "", ms(best.iter().map(|layer| layer.time).sum()));
    println!(
        "{} batch {batch} threads {threads}: best {:.2} median {:.2} ms/image, peak {:.1} GMAC/s, memory {:.0} MiB",
        engine.instruction_set(),
        ms(times[0]),
        ms(times[times.len() / 2]),
        peak / 1e9,
        engine.memory() as f64 / (1 << 20) as f64
    );
    Ok(())
}
