//! The recipe `features`: embeds images as vectors and compares these.

use std::env;
use std::error::Error;

use bn_inception::image::imageops::{flip_horizontal, flip_vertical};
use bn_inception::weights::Weights;
use bn_inception::{DeviceSpec, EngineOptions, Pooling, decode_file};

fn main() -> Result<(), Box<dyn Error>> {
    let image = env::args().nth(1).unwrap_or_else(|| "docs/drawn.jpg".to_owned());
    let image = decode_file(image)?;
    let images = [image.clone(), flip_horizontal(&image), flip_vertical(&image)];

    let device = DeviceSpec::Auto.open()?.device;
    let (model, metadata) = Weights::open("imagenette", None)?.folded(&device, &EngineOptions::default())?;
    let images = metadata.preprocess.batch(&images, &device)?;
    for end_point in model.config().end_points() {
        println!("{end_point:6} {:?}", model.features(images.clone(), end_point)?.dims());
    }

    // The last end point, averaged over its pixels: a vector for each image, `[3, channels]`.
    let vectors = model.embed(images, "5b", Pooling::Average)?;
    let lengths = vectors.clone().powi_scalar(2).sum_dim(1).sqrt();
    let vectors = vectors / lengths;
    let cosines = vectors.clone().narrow(0, 0, 1).matmul(vectors.transpose());
    let cosines = cosines.try_into_vec_as::<f32>()?;
    println!("cosine: mirrored {:.3}, upside down {:.3}", cosines[1], cosines[2]);
    Ok(())
}
