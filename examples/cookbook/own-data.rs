//! The recipe `own-data`: trains on images that are in no folder, with Burn's own optimiser and loss.

use std::error::Error;

use bn_inception::burn::module::Module;
use bn_inception::burn::nn::loss::CrossEntropyLossConfig;
use bn_inception::burn::optim::{AdamConfig, GradientsParams};
use bn_inception::burn::tensor::{Int, Tensor};
use bn_inception::image::{Rgb, RgbImage};
use bn_inception::{DeviceSpec, Preprocess, Preset};

/// Upright or lying stripes, and their class. Your images may come from a database, an archive or a camera;
/// `bn_inception::data::decode` reads images from bytes.
fn sample(index: u32) -> (RgbImage, i64) {
    let (class, width) = (index % 2, 4 + index % 7);
    let image = RgbImage::from_fn(80, 60, |x, y| {
        let along = if class == 0 { x } else { y };
        let on = ((along + index) / width).is_multiple_of(2);
        Rgb(if on { [250, 200, 40] } else { [20, 60, 120] })
    });
    (image, i64::from(class))
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Auto.open()?.device;
    let preprocess = Preprocess::imagenet(32);
    let config = Preset::Small.config().with_width(0.125).with_classes(2);
    let mut model = config.init(&device.clone().autodiff())?;
    let mut adam = AdamConfig::new().init();
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    for step in 0..40 {
        let (images, classes): (Vec<_>, Vec<_>) = (16 * step..16 * (step + 1)).map(sample).unzip();
        let images = preprocess.batch(&images, &device)?.autodiff();
        let classes = Tensor::<1, Int>::from_data(classes.as_slice(), &device);
        let loss = cross_entropy.forward(model.forward(images), classes);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = adam.step(0.001, model, gradients);
    }

    let (images, classes): (Vec<_>, Vec<_>) = (10_000..10_100).map(sample).unzip();
    let logits = model.valid().forward(preprocess.batch(&images, &device)?);
    let found = logits.argmax(1).try_into_vec_as::<i64>()?;
    let right = (0..100).filter(|index| found[*index] == classes[*index]).count();
    println!("{right} of {} images right", images.len());
    Ok(())
}
