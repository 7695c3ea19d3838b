//! Training steps: forward and backward pass, and SGD with momentum.

use std::time::{Duration, Instant};

use bn_inception::{Model, OpenDevice};
use bn_inception_examples::Failure;
use bn_inception_train::cross_entropy;
use bn_inception_train::optim::{self, DecayScope, Sgd, SgdConfig};
use burn::tensor::{Int, Tensor, TensorData};

use crate::arguments::Arguments;
use crate::report::{Report, measure, peak_rss_mib, pixels, print, print_layers};

pub(crate) fn run(arguments: &Arguments, opened: &OpenDevice) -> Result<Report, Failure> {
    if arguments.weights.is_some() {
        return Err("--task train measures drawn weights: --weights is for --task infer".into());
    }
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global()?;
    }
    let batch = usize::from(arguments.batch);
    let config = arguments.config()?;
    let size = config.input_size;
    let start = Instant::now();
    let device = opened.device.clone().autodiff();
    let mut model = Some(config.init(&device)?);
    let mut sgd = Sgd::new(SgdConfig {
        momentum: 0.9,
        nesterov: false,
        weight_decay: 1e-5,
        decay_scope: DecayScope::Weights,
        muon: None,
    });
    let data = TensorData::new(pixels(batch, size), [batch, 3, size, size]);
    let images = Tensor::<4>::from_data(data, &opened.device);
    let classes: Vec<i32> = (0..batch).map(|i| (i * 37 % config.classes) as i32).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(classes, [batch]), &opened.device);
    let mut step = || {
        let start = Instant::now();
        let trained: Model = model.take().expect("put back after every step");
        let loss = cross_entropy(trained.forward(images.clone().autodiff()), targets.clone(), 0.0).mean();
        let gradients = optim::gradients(&trained, loss.backward());
        model = Some(sgd.step(trained, 0.01, gradients));
        loss.into_data();
        start.elapsed()
    };
    step();
    let first_result = start.elapsed();
    let (wall, processor) = (Instant::now(), processor_seconds());
    let times = measure(arguments.seconds, step);
    let wall = wall.elapsed().as_secs_f64();
    let processor = processor_seconds().zip(processor).map(|(end, start)| end - start);
    let model = model.ok_or("the last step failed")?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3 / batch as f64;
    let median = ms(times[times.len() / 2]);
    let peak_rss_mib = peak_rss_mib();
    // Forward, gradient of the input, gradient of the weights: as many multiply-adds each.
    let rate = 3.0 * model.summary(size).multiply_adds() as f64 / 1e9 / (median / 1e3);
    let trainer = model.trainer();
    let threads = trainer.map(|trainer| trainer.threads());
    let peak = trainer.map(|trainer| trainer.peak() * trainer.threads() as f64 / 1e9);
    // With t threads the process takes 1 second of processor time a second while one works, and t while all do.
    let alone = |threads: usize, processor: f64| (threads as f64 - processor / wall) / (threads as f64 - 1.0);
    let report = Report {
        task: "train",
        device: opened.name.clone(),
        isa: trainer.map(|trainer| trainer.instruction_set()),
        batch,
        threads,
        input_size: size,
        ms_per_image: median,
        best_ms_per_image: ms(times[0]),
        calls: times.len(),
        gmac_per_s: rate,
        peak_fraction: peak.map(|peak| rate / peak),
        peak_gmac_per_s: peak,
        one_thread_share: threads
            .filter(|&threads| threads > 1)
            .zip(processor)
            .map(|(threads, processor)| alone(threads, processor).clamp(0.0, 1.0)),
        first_result_ms: first_result.as_secs_f64() * 1e3,
        peak_rss_mib,
    };
    print(&report)?;
    if arguments.per_layer {
        let Some(peak) = peak else {
            return Err("--per-layer needs the engine of CPU devices".into());
        };
        print_layers(batch, arguments.seconds, peak, || {
            Ok(model.profile_training(images.clone()).ok_or("the network runs in several parts")?)
        })?;
    }
    Ok(report)
}

/// Processor time of the process so far, of all threads, where the system tells.
#[cfg(unix)]
fn processor_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[cfg(not(unix))]
fn processor_seconds() -> Option<f64> {
    None
}
