//! Putting a run back to where a checkpoint was taken.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::checkpoint::{Arrays, Checkpoint, DataFacts};
use crate::ema::Ema;
use crate::error::TrainError;
use crate::parameters::{self, NamedTensors};
use crate::run::{Run, to_device};
use crate::sgd::Sgd;
use crate::step::Classifier;

/// Puts the run and its network where the checkpoint was taken.
pub(crate) fn restore(
    run: &mut Run,
    classifier: &mut Classifier,
    checkpoint: Checkpoint,
    path: PathBuf,
    device: &Device,
) -> Result<(), TrainError> {
    let expected = parameters::values(&classifier.model);
    let misfit = |what: String| TrainError::Misfit {
        path: path.clone(),
        what,
    };
    check_arrays(&checkpoint.model, &expected, "weight", true).map_err(misfit)?;
    check_arrays(&checkpoint.velocity, &expected, "velocity", false).map_err(misfit)?;
    let averages = run.recipe.ema.is_some();
    check_arrays(&checkpoint.average, &expected, "average", averages).map_err(misfit)?;

    let mut model = to_device(checkpoint.model, device);
    classifier.model = parameters::replace(classifier.model.clone(), &mut model);
    run.sgd = Sgd::with_velocity(run.recipe.optimizer, to_device(checkpoint.velocity, device));
    let average = to_device(checkpoint.average, device);
    run.ema = run.recipe.ema.map(|decay| Ema::new(decay, average));
    run.progress = checkpoint.progress;
    run.last_good = Some(path);
    Ok(())
}

/// Checks that each array belongs to a value of the network and has its length; with `all`, that
/// none is missing.
fn check_arrays(
    arrays: &Arrays,
    expected: &NamedTensors,
    kind: &str,
    all: bool,
) -> Result<(), String> {
    for (name, values) in arrays {
        let Some(tensor) = expected.get(name) else {
            return Err(format!("the network has no {kind} `{name}`"));
        };
        let (found, expected) = (values.len(), tensor.dims()[0]);
        if found != expected {
            return Err(format!(
                "{kind} `{name}` has {found} values, expected {expected}"
            ));
        }
    }
    match expected.keys().find(|name| !arrays.contains_key(*name)) {
        Some(name) if all => Err(format!("{kind} `{name}` is missing")),
        _ => Ok(()),
    }
}

/// Checks that a resumed run is given the data it had.
pub(crate) fn check_data(
    before: &DataFacts,
    now: &DataFacts,
    path: &Path,
) -> Result<(), TrainError> {
    let misfit = |what: String| {
        Err(TrainError::Misfit {
            path: path.to_owned(),
            what,
        })
    };
    if before.classes != now.classes {
        return misfit(format!(
            "it has {} classes, the data has {}{}",
            before.classes.len(),
            now.classes.len(),
            if before.classes.len() == now.classes.len() {
                " others"
            } else {
                ""
            },
        ));
    }
    if before != now {
        return misfit(format!(
            "it was trained on {} images and validated on {}, the data has {} and {}",
            before.train_images, before.val_images, now.train_images, now.val_images,
        ));
    }
    Ok(())
}
