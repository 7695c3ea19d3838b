//! The recipe `convert`: weights of another project, as a file of this one and as ONNX.

use std::error::Error;
use std::{env, fs};

use bn_inception::weights::{Import, Precision, Weights};
use bn_inception::{Preprocess, Preset};

fn main() -> Result<(), Box<dyn Error>> {
    let weights = match env::args().nth(1) {
        // PyTorch, ONNX, MXNet, Caffe or safetensors, recognised by content. Such a file does not say which network and
        // which pixels it is for; these are right for pretrainedmodels' `bn_inception-52deb4733.pth`.
        Some(path) => Weights::open(path, Some(&Import::new(Preset::Caffe.config(), Preprocess::cadene())))?,
        // A file of this project says everything itself.
        None => Weights::open("imagenette", None)?,
    };
    let path = env::temp_dir().join("converted.safetensors");
    weights.save(&path, Precision::Half)?;
    println!("{}: {} tensors", path.display(), weights.state().len());

    let classes = weights.metadata().labels.len();
    let path = env::temp_dir().join("converted.onnx");
    // Folded: batch normalisation is merged into the convolutions, for inference only.
    fs::write(&path, weights.fold().into_onnx()?)?;
    let again = Weights::open(&path, None)?;
    assert_eq!(again.metadata().labels.len(), classes);
    println!("{}: {} tensors", path.display(), again.state().len());
    Ok(())
}
