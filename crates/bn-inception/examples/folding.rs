//! Speed-up by folding: `Model::forward` beside `Model::fold().forward`, in turn, on the CPU.
//!
//! ```text
//! cargo run --release -p bn-inception --example folding
//! ```

use std::time::{Duration, Instant};

use bn_inception::burn::tensor::{Device, Tensor};
use bn_inception::{ConfigError, Preset};

const ROUNDS: usize = 15;

fn main() -> Result<(), ConfigError> {
    let device = Device::flex();
    let model = Preset::Caffe.config().init(&device)?;
    let folded = model.fold();
    for batch in [1, 8] {
        let images = Tensor::<4>::ones([batch, 3, 224, 224], &device);
        let time = |forward: &dyn Fn(Tensor<4>) -> Tensor<2>| {
            let start = Instant::now();
            forward(images.clone()).into_data();
            start.elapsed()
        };
        let rounds =
            (0..=ROUNDS).map(|_| (time(&|images| model.forward(images)), time(&|images| folded.forward(images))));
        // The first round plans, packs and fills caches.
        let (model, folded): (Vec<_>, Vec<_>) = rounds.skip(1).unzip();
        let [model, folded] = [model, folded].map(|times| median(times) / batch as f64);
        let ratio = model / folded;
        println!("batch {batch}: {model:.1} ms/image, folded {folded:.1}: {ratio:.1} times as fast");
    }
    Ok(())
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
