//! Weights to start from: weight files, and checkpoints, whose network can be used like that of any weight file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bn_inception::State;
use bn_inception::weights::{Import, Metadata, Store, Weights, WeightsError, WeightsProblem};
use burn::tensor::TensorData;
use serde_json::json;

use crate::checkpoint::{Arrays, Checkpoint, CheckpointError, KEY};
use crate::error::TrainError;
use crate::optim::{Ema, Flat};
use crate::settings::SettingsError;

/// Longest header in bytes that a file recognised as a checkpoint may have; safetensors accepts no longer one.
const MAX_HEADER: u64 = 100_000_000;

/// The weights called `name`, as by [`Weights::open_from`], or those in the checkpoint at the path `name`. A checkpoint
/// is recognised by content; its settings state network, preprocessing and labels, so `import` must be `None`.
///
/// # Errors
/// [`TrainError::Weights`] or [`TrainError::Load`], which name the file.
pub fn open_weights(store: &Store, name: &str, import: Option<&Import>) -> Result<Weights, TrainError> {
    let path = Path::new(name);
    if !is_checkpoint(path) {
        return Ok(Weights::open_from(store, name, import)?);
    }
    if import.is_some() {
        return Err(WeightsError::of_file(path, WeightsProblem::HasConfiguration).into());
    }
    let load = |error| TrainError::Load { error, older: None };
    let checkpoint = Checkpoint::load(path).map_err(load)?;
    checkpoint.weights().map_err(|what| load(CheckpointError::Damaged { path: path.to_owned(), what }))
}

/// True if the file at `path` begins as a checkpoint does.
fn is_checkpoint(path: &Path) -> bool {
    let header = || {
        let mut file = File::open(path).ok().filter(|file| file.metadata().is_ok_and(|found| found.is_file()))?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let length = Some(u64::from_le_bytes(length)).filter(|length| *length <= MAX_HEADER)?;
        let mut header = Vec::new();
        file.take(length).read_to_end(&mut header).ok()?;
        Some(header)
    };
    let key = format!("\"{KEY}\"");
    header().is_some_and(|header| header.windows(key.len()).any(|window| window == key.as_bytes()))
}

impl Checkpoint {
    /// The weights that the run would ship if it ended here: the averaged ones, if there are any and the average is as
    /// old as it is long (see [`Ema`](crate::optim::Ema)); otherwise those of its last step. The error says what does
    /// not fit.
    fn weights(&self) -> Result<Weights, String> {
        let network = |error: SettingsError| error.to_string();
        let config = self.settings.network(self.data.classes.len()).map_err(network)?;
        let recipe = self.settings.recipe().map_err(network)?;
        let settled = |decay| {
            let no_values = Flat::new(Vec::new());
            let average = Ema::new(decay, no_values);
            average.is_settled(self.progress.step) || self.settings.fine_tune.is_some()
        };
        let averaged = !self.average.is_empty() && recipe.ema.is_some_and(settled);
        let arrays = if averaged { &self.average } else { &self.model };
        let mut state = State::new();
        for (name, shape) in config.tensors() {
            let values = values(arrays, &self.model, &name)?;
            let expected: usize = shape.iter().product();
            if values.len() != expected {
                return Err(format!("weight `{name}` has {} values, expected {expected}", values.len()));
            }
            state.insert(name, TensorData::new(values.clone(), shape));
        }
        let step = self.progress.step;
        let which = if averaged { "averaged" } else { "of the last step" };
        let facts = [("recipe", json!(recipe.name)), ("step", json!(step)), ("checkpoint", json!(which))];
        let metadata = Metadata {
            config,
            preprocess: self.settings.preprocess(),
            labels: self.data.labels(),
            temperature: None,
            facts: facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        };
        Weights::new(state, metadata).map_err(|error| error.to_string())
    }
}

fn values<'a>(arrays: &'a Arrays, otherwise: &'a Arrays, name: &str) -> Result<&'a Vec<f32>, String> {
    let found = arrays.get(name).or_else(|| otherwise.get(name));
    found.ok_or_else(|| format!("weight `{name}` is missing"))
}
