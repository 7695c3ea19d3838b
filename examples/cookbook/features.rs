//! The recipe `features`: embeds images as vectors and compares these.

use std::env;
use std::error::Error;

use bn_inception::image::imageops::{flip_horizontal, flip_vertical};
use bn_inception::weights::Weights;
use bn_inception::{DeviceSpec, decode_file};

fn main() -> Result<(), Box<dyn Error>> {
    let image = env::args().nth(1).unwrap_or_else(|| "docs/drawn.jpg".to_owned());
    let image = decode_file(image)?;
    let images = [image.clone(), flip_horizontal(&image), flip_vertical(&image)];

    let device = DeviceSpec::Auto.open()?.device;
    let (model, metadata) = Weights::open("imagenette", None)?.model(&device);
    let features = model.features(metadata.preprocess.batch(&images, &device)?);
    for (name, map) in features.iter() {
        println!("{name:6} {:?}", map.dims());
    }

    // The last end point, averaged over its pixels: a vector for each image, `[3, channels]`.
    let map = features.get("5b").ok_or("no end point 5b")?.clone();
    let vectors = map.mean_dims(&[2, 3]).flatten::<2>(1, 3);
    let lengths = vectors.clone().powi_scalar(2).sum_dim(1).sqrt();
    let vectors = vectors / lengths;
    let cosines = vectors.clone().narrow(0, 0, 1).matmul(vectors.transpose());
    let cosines = cosines.try_into_vec_as::<f32>()?;
    println!("cosine: mirrored {:.3}, upside down {:.3}", cosines[1], cosines[2]);
    Ok(())
}
