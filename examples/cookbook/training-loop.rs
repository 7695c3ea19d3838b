//! The recipe `training-loop`: trains a network in a loop of one's own, saves it and measures it.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use bn_inception::weights::{Metadata, Precision, Weights};
use bn_inception::{DeviceSpec, ImageClassifier, Preset};
use bn_inception_train::data::{Augment, DrawnConfig, ImageDataset, ImageLoader};
use bn_inception_train::data::{LoaderOptions, Preprocess, Split, draw_dataset};
use bn_inception_train::optim::{self, DecayScope, Sgd, SgdConfig};
use bn_inception_train::{cross_entropy, evaluate};

fn main() -> Result<(), Box<dyn Error>> {
    // DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg; without a folder, ten classes are drawn.
    let data = match env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => draw_dataset(&env::temp_dir().join("drawn"), &DrawnConfig::default())?.root,
    };
    let train = ImageDataset::open_split(&data, Split::Train)?;
    let labels = train.classes().to_vec();

    let device = DeviceSpec::Auto.open()?.device;
    let preprocess = Preprocess::imagenet(64);
    let augment = Augment::new(64, 0.6, 0.2);
    let options = LoaderOptions::default();
    let loader = ImageLoader::train(train, preprocess.clone(), augment, options, &device)?;

    let config = Preset::Caffe.config().with_width(0.125).with_classes(labels.len());
    let mut model = config.init(&device.clone().autodiff())?;
    let mut sgd = Sgd::new(SgdConfig {
        momentum: 0.9,
        nesterov: true,
        weight_decay: 5e-4,
        decay_scope: DecayScope::Weights,
        muon: None,
    });
    let epochs = 3;
    let steps = epochs as usize * loader.batches();
    let batches = (0..epochs).flat_map(|epoch| loader.iter_from(epoch, 0));
    for (step, batch) in batches.enumerate() {
        let batch = batch?;
        let logits = model.forward(batch.images.autodiff());
        let loss = cross_entropy(logits, batch.targets, 0.1).mean();
        let gradients = optim::gradients(&model, loss.backward());
        let rate = 0.05 * (1.0 - step as f64 / steps as f64);
        model = sgd.step(model, rate, gradients);
        if step % 25 == 0 {
            println!("step {step} of {steps}: loss {:.3}", loss.try_into_scalar::<f64>()?);
        }
    }

    let metadata = Metadata { config, preprocess, labels, temperature: None, facts: Default::default() };
    let weights = Weights::from_model(&model, metadata)?;
    let path = env::temp_dir().join("trained.safetensors");
    weights.save(&path, Precision::Full)?;
    let val = ImageDataset::open_split(&data, Split::Val)?;
    let result = evaluate(&ImageClassifier::from_weights(weights, &device)?.into(), val, options, |_, _| ())?;
    println!("top-1 {:.1} % of {} images: {}", 100.0 * result.top1, result.images, path.display());
    Ok(())
}
