//! The recipe `classify`: names what is in a photograph.

use std::env;
use std::error::Error;

use bn_inception::{DeviceSpec, ImageClassifier};

fn main() -> Result<(), Box<dyn Error>> {
    let image = env::args().nth(1).unwrap_or_else(|| "docs/drawn.jpg".to_owned());
    // The best device of this build: a GPU if there is one, the CPU otherwise.
    let device = DeviceSpec::Auto.open()?.device;
    // A name that `list-weights` prints, or the path of a weight file.
    let classifier = ImageClassifier::open("imagenette", &device)?;
    for prediction in classifier.predict(&image, 3)? {
        println!("{:5.1} %  {}", 100.0 * prediction.probability, prediction.label);
    }
    Ok(())
}
