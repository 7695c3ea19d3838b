//! Forward passes of the folded network.

use std::time::{Duration, Instant};

use bn_inception::weights::{Import, Weights};
use bn_inception::{EngineOptions, FoldedModel, OpenDevice, Preprocess};
use bn_inception_examples::Failure;
use burn::tensor::{Tensor, TensorData};

use crate::arguments::Arguments;
use crate::report::{Report, measure, peak_rss_mib, pixels, print, print_layers};

pub(crate) fn run(arguments: &Arguments, opened: &OpenDevice) -> Result<Report, Failure> {
    let device = &opened.device;
    let batch = usize::from(arguments.batch);
    let options =
        EngineOptions { threads: arguments.threads, precision: arguments.precision, ..EngineOptions::default() };
    let drawn = match &arguments.weights {
        Some(_) => None,
        None => {
            let config = arguments.config()?;
            let state = config.init(device)?.state();
            Some((config, state))
        }
    };
    let start = Instant::now();
    let (model, size) = match (&arguments.weights, drawn) {
        (Some(name), _) => {
            // The images are noise, so only the size of the preprocessing matters.
            let import = arguments.preset.map(|preset| {
                let config = preset.config();
                let preprocess = Preprocess::imagenet(config.input_size as u32);
                Import::new(config, preprocess)
            });
            let store = arguments.downloads.store();
            let weights = Weights::open_from(&store, name, import.as_ref())?;
            let (model, metadata) = weights.folded(device, &options)?;
            (model, arguments.input_size.unwrap_or(metadata.preprocess.size as usize))
        }
        (None, Some((config, state))) => {
            let model = FoldedModel::new(&config, state, device, &options)?;
            (model, config.input_size)
        }
        (None, None) => unreachable!("one of the two was just chosen"),
    };
    let data = TensorData::new(pixels(batch, size), [batch, 3, size, size]);
    let images = Tensor::<4>::from_data(data, device);
    let call = || {
        let start = Instant::now();
        model.forward(images.clone()).into_data();
        start.elapsed()
    };
    call();
    let first_result = start.elapsed();
    let times = measure(arguments.seconds, call);
    let ms = |time: Duration| time.as_secs_f64() * 1e3 / batch as f64;
    let median = ms(times[times.len() / 2]);
    let peak_rss_mib = peak_rss_mib();
    // A network of drawn weights has the same number of multiply-adds as this one.
    let counted = model.config().init(device)?.summary(size);
    let rate = counted.multiply_adds() as f64 / 1e9 / (median / 1e3);
    let engine = model.engine();
    let peak = engine.map(|engine| engine.peak() * engine.threads() as f64 / 1e9);
    let report = Report {
        task: "infer",
        device: opened.name.clone(),
        isa: engine.map(|engine| engine.instruction_set()),
        batch,
        threads: engine.map(|engine| engine.threads()),
        input_size: size,
        ms_per_image: median,
        best_ms_per_image: ms(times[0]),
        calls: times.len(),
        gmac_per_s: rate,
        peak_fraction: peak.map(|peak| rate / peak),
        peak_gmac_per_s: peak,
        one_thread_share: None,
        first_result_ms: first_result.as_secs_f64() * 1e3,
        peak_rss_mib,
    };
    print(&report)?;
    if arguments.per_layer {
        let (Some(engine), Some(peak)) = (engine, peak) else {
            return Err("--per-layer needs the engine of CPU devices".into());
        };
        let images = pixels(batch, size);
        let mut logits = vec![0.0; batch * model.config().classes];
        print_layers(batch, arguments.seconds, peak, || {
            Ok(engine.profile(&images, [batch, size, size], &mut logits)?)
        })?;
    }
    Ok(report)
}
