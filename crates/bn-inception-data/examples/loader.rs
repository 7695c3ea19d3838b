//! Images per second of the training loader, as one JSON line:
//!
//! ```text
//! cargo run --release -p bn-inception-data --example loader -- DATA [WORKERS]
//! ```
//!
//! DATA is a dataset, of which the training images are taken, or a folder of class folders. The images are 128 x 128 pixels, without colour distortion, in batches of 64, as in
//! `tests/peers/torchvision_loader.py`. The clock starts when the first batch arrives; `first_batch_seconds`
//! counts from the opening of the dataset.

use std::error::Error;
use std::time::Instant;

use bn_inception_data::{
    Augment, DatasetError, GOOGLENET_MIN_AREA, ImageDataset, ImageLoader, LoaderOptions, Preprocess, Split,
};
use burn::tensor::Device;

const SIZE: u32 = 128;
const BATCHES: usize = 24;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("usage: loader DATA [WORKERS]")?;
    let opened = Instant::now();
    let dataset = match ImageDataset::open_split(&data, Split::Train) {
        Err(DatasetError::NoLayout(_)) => ImageDataset::open(data)?,
        other => other?,
    };
    let workers = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let options = LoaderOptions { batch_size: 64, workers, seed: 0, strict: false };
    let augment = Augment::new(SIZE, GOOGLENET_MIN_AREA, 0.0);
    let preprocess = Preprocess::imagenet(SIZE);
    let loader = ImageLoader::train(dataset, preprocess, augment, options, &Device::flex())?;
    let mut batches = loader.iter_from(0, 0);
    batches.next().ok_or("no batch")??;
    let first_batch = opened.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut images = 0;
    for _ in 0..BATCHES {
        let batch = batches.next().ok_or("too few images")??;
        images += batch.targets.dims()[0];
    }
    let rate = images as f64 / start.elapsed().as_secs_f64();
    println!(
        r#"{{"images_per_second": {rate:.1}, "images": {images}, "workers": {workers}, "first_batch_seconds": {first_batch:.3}}}"#
    );
    Ok(())
}
