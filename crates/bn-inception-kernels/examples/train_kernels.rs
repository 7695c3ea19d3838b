//! Speed of every convolution of BN-Inception in training (forward, input gradient, weight gradient) relative to the
//! measured multiply-add peak of the processor, then of batch normalisation and pooling relative to its copy bandwidth.
//!
//! `cargo run -p bn-inception-kernels --example train_kernels [divide] [pixels] [batch]`: divisor of the channel counts
//! (default 2), input size (default 128), batch (default 64). `RAYON_NUM_THREADS` sets the number of threads.

use bn_inception_kernels::*;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// Inception blocks of Figure 5: input channels, stride, then widths of 1×1, 3×3 reduce, 3×3, double 3×3 reduce, double
/// 3×3 and pool projection, zero for none.
const BLOCKS: [(usize, usize, [usize; 6]); 10] = [
    (192, 1, [64, 64, 64, 64, 96, 32]),
    (256, 1, [64, 64, 96, 64, 96, 64]),
    (320, 2, [0, 128, 160, 64, 96, 0]),
    (576, 1, [224, 64, 96, 96, 128, 128]),
    (576, 1, [192, 96, 128, 96, 128, 128]),
    (576, 1, [160, 128, 160, 128, 160, 128]),
    (608, 1, [96, 128, 192, 160, 192, 128]),
    (608, 2, [0, 128, 192, 192, 256, 0]),
    (1056, 1, [352, 192, 320, 160, 224, 128]),
    (1024, 1, [352, 192, 320, 192, 224, 128]),
];

/// `[map, in, out, kernel, stride]` of every convolution, and its number of occurrences.
fn layers(divide: usize, pixels: usize) -> BTreeMap<[usize; 5], usize> {
    let mut map = pixels.div_ceil(4);
    let mut list = vec![
        [pixels, 3, 64 / divide, 7, 2],
        [map, 64 / divide, 64 / divide, 1, 1],
        [map, 64 / divide, 192 / divide, 3, 1],
    ];
    map = map.div_ceil(2);
    for (input, stride, widths) in BLOCKS {
        let [one, reduce, three, double_reduce, double, project] = widths.map(|w| w / divide);
        let input = input / divide;
        list.extend([[map, input, one, 1, 1], [map, input, reduce, 1, 1], [map, reduce, three, 3, stride]]);
        list.extend([
            [map, input, double_reduce, 1, 1],
            [map, double_reduce, double, 3, 1],
            [map, double, double, 3, stride],
        ]);
        list.push([map, input, project, 1, 1]);
        map = map.div_ceil(stride);
    }
    let mut count = BTreeMap::new();
    for layer in list.into_iter().filter(|l| l[2] > 0) {
        *count.entry(layer).or_insert(0) += 1;
    }
    count
}

/// Best time of up to nine runs, in seconds; fewer runs for slow work.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    for _ in 0..9 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
        if begin.elapsed().as_secs_f64() > 0.25 {
            break;
        }
    }
    best
}

/// Multiply-adds per second of all threads, without memory access.
fn peak() -> f64 {
    const ROUNDS: usize = 4_000_000;
    let lanes = if instruction_set() == "avx512" { 16 } else { 8 };
    let threads = rayon::current_num_threads();
    let seconds = time(|| {
        let sum: f32 = (0..threads).into_par_iter().map(|t| multiply_adds(ROUNDS, t as f32)).sum();
        std::hint::black_box(sum);
    });
    (threads * ROUNDS * 16 * lanes) as f64 / seconds
}

/// `rounds` times sixteen independent vector multiply-adds.
fn multiply_adds(rounds: usize, x: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        fn avx512(rounds: usize, x: f32) -> f32 {
            let (mut acc, a) = ([_mm512_set1_ps(x); 16], _mm512_set1_ps(0.5));
            for _ in 0..rounds {
                for v in &mut acc {
                    *v = _mm512_fmadd_ps(*v, a, a);
                }
            }
            acc.into_iter().map(|v| _mm512_reduce_add_ps(v)).sum()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(rounds: usize, x: f32) -> f32 {
            let (mut acc, a) = ([_mm256_set1_ps(x); 16], _mm256_set1_ps(0.5));
            for _ in 0..rounds {
                for v in &mut acc {
                    *v = _mm256_fmadd_ps(*v, a, a);
                }
            }
            acc.into_iter().map(|v| _mm256_cvtss_f32(v)).sum()
        }
        #[allow(unsafe_code)]
        match instruction_set() {
            // SAFETY: the library has detected the instruction set on this processor.
            "avx512" => return unsafe { avx512(rounds, x) },
            // SAFETY: as above.
            "avx2" => return unsafe { avx2(rounds, x) },
            _ => {}
        }
    }
    let mut acc = [[x; 8]; 16];
    for _ in 0..rounds {
        for v in acc.as_flattened_mut() {
            // Fused only where the processor has the operation; elsewhere it is a library call.
            *v = if cfg!(target_arch = "aarch64") { v.mul_add(0.5, 0.5) } else { *v * 0.5 + 0.5 };
        }
    }
    acc.as_flattened().iter().sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (divide, pixels, batch) = (next(2)?, next(128)?, next(64)?);
    let peak = peak();
    let copy = {
        let (from, mut to) = (vec![1.0f32; 1 << 25], vec![0.0f32; 1 << 25]);
        let seconds =
            time(|| to.par_chunks_mut(1 << 16).zip(from.par_chunks(1 << 16)).for_each(|(t, f)| t.copy_from_slice(f)));
        (8usize << 25) as f64 / seconds
    };
    println!(
        "{}, {} threads: peak {:.0} GMAC/s, copy {:.1} GB/s; channels / {divide}, {pixels} px, batch {batch}",
        instruction_set(),
        rayon::current_num_threads(),
        peak / 1e9,
        copy / 1e9
    );

    println!("{:>32} {:>3} {:>16} {:>16} {:>16}", "map in>out kernel/stride", "x", "forward", "input", "weight");
    let (mut total, mut macs) = ([0.0; 3], [0.0; 3]);
    for ([map, input, output, kernel, stride], count) in layers(divide, pixels) {
        let s = Conv2dShape::new([batch, input, map, map], output, [kernel; 2], [stride; 2], [kernel / 2; 4], 1)?;
        let value = |i: usize| (i % 13) as f32 * 0.1 - 0.6;
        let mut x: Vec<f32> = (0..s.input_len()).map(value).collect();
        let mut w: Vec<f32> = (0..s.weight_len()).map(value).collect();
        let mut y = vec![0.0; s.output_len()];
        let seconds = [
            time(|| conv2d(&s, &x, &w, &mut y).unwrap_or_default()),
            time(|| conv2d_backward_weight(&s, &x, &y, &mut w).unwrap_or_default()),
            // The gradient of the images is not needed.
            if input == 3 { 0.0 } else { time(|| conv2d_backward_input(&s, &w, &y, &mut x).unwrap_or_default()) },
        ];
        let seconds = [seconds[0], seconds[2], seconds[1]];
        let name = format!("{map}² {input}>{output} {kernel}/{stride}");
        print!("{name:>32} {count:>3}");
        for (i, t) in seconds.into_iter().enumerate() {
            if t > 0.0 {
                total[i] += t * count as f64;
                macs[i] += s.macs() as f64 * count as f64;
                print!(" {:6.2} ms {:5.0} %", t * 1e3, s.macs() as f64 / t / peak * 100.0);
            }
        }
        println!();
    }
    let [forward, input, weight] = [0, 1, 2].map(|i| (total[i], macs[i]));
    let all = (total.iter().sum(), macs.iter().sum());
    for (name, (t, n)) in [("forward", forward), ("input", input), ("weight", weight), ("all", all)] {
        println!("{name:>8}: {:7.1} ms {:5.0} GMAC/s {:3.0} % of peak", t * 1e3, n / t / 1e9, n / t / peak * 100.0);
    }

    println!("\n{:>32} {:>18} {:>18}", "memory bound", "forward", "backward");
    for (channels, map) in [(64 / divide, pixels / 2), (192 / divide, pixels / 4), (576 / divide, pixels / 16)] {
        let s = BatchNormShape::new(batch, channels, map * map)?;
        let (x, mut y) = (vec![1.0f32; s.tensor_len()], vec![0.0f32; s.tensor_len()]);
        let (gamma, beta) = (vec![1.0; channels], vec![0.0; channels]);
        let (mut mean, mut var) = (vec![0.0; channels], vec![0.0; channels]);
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        let params = BatchNormParams { gamma: &gamma, beta: &beta, epsilon: 1e-5, relu: true };
        let forward = time(|| batch_norm_train(&s, &params, &x, &mut y, &mut mean, &mut var).unwrap_or_default());
        let mut dx = vec![0.0f32; s.tensor_len()];
        let backward = time(|| {
            let out = BatchNormGradients { dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta };
            batch_norm_train_backward(&s, &params, &x, &mean, &var, &y, out).unwrap_or_default()
        });
        // Tensors read or written at least once: x, y and x, dy, dx.
        let gb = s.tensor_len() as f64 * 4e-9;
        println!(
            "{:>32} {:6.2} ms {:4.1} GB/s {:6.2} ms {:4.1} GB/s",
            format!("batch norm {channels} x {map}²"),
            forward * 1e3,
            2.0 * gb / forward,
            backward * 1e3,
            3.0 * gb / backward
        );
    }
    for (name, map, channels, stride) in [
        ("max", pixels / 2, 64 / divide, 2),
        ("max", pixels / 4, 192 / divide, 2),
        ("average", pixels / 8, 256 / divide, 1),
        ("average", pixels / 16, 576 / divide, 1),
    ] {
        let s = Pool2dShape::new([batch, channels, map, map], [3, 3], [stride; 2], [stride % 2; 4], true)?;
        let (mut x, mut y, mut indices) =
            (vec![1.0f32; s.input_len()], vec![0.0f32; s.output_len()], vec![0; s.output_len()]);
        let seconds = match name {
            "max" => [
                time(|| max_pool2d(&s, &x, &mut y, &mut indices).unwrap_or_default()),
                time(|| max_pool2d_backward(&s, &y, &indices, &mut x).unwrap_or_default()),
            ],
            _ => [
                time(|| avg_pool2d(&s, true, &x, &mut y).unwrap_or_default()),
                time(|| avg_pool2d_backward(&s, true, &y, &mut x).unwrap_or_default()),
            ],
        };
        let gb = (s.input_len() + s.output_len()) as f64 * 4e-9;
        println!(
            "{:>32} {:6.2} ms {:4.1} GB/s {:6.2} ms {:4.1} GB/s",
            format!("{name} 3/{stride} {channels} x {map}²"),
            seconds[0] * 1e3,
            gb / seconds[0],
            seconds[1] * 1e3,
            gb / seconds[1]
        );
    }
    Ok(())
}
