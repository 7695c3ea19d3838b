//! `summary.json`: the results of a run, for programs to read.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::json_value::json_value;
use crate::settings::{FineTune, Settings};

/// The outcome of a finished run. Accuracies are fractions, of the weights that were written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Fraction of validation images whose first guess is right.
    pub val_top1: f64,
    /// Fraction of validation images with the right class among the first five guesses.
    pub val_top5: f64,
    /// Mean cross-entropy on the validation images.
    pub val_loss: f64,
    /// Number of validation images.
    pub val_images: u64,
    /// Highest `val_top1` of all epochs.
    pub best_top1: f64,
    /// Steps taken when it was reached.
    pub best_step: u64,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Images trained on, including repetitions.
    pub images: u64,
    /// Training images per second, without validation and saving.
    pub images_per_second: f64,
    /// Seconds of training, without validation and saving.
    pub train_seconds: f64,
    /// Fraction of those spent waiting for the loader.
    pub data_wait_fraction: f64,
    /// Device the run ended on.
    pub device: String,
    /// Number of distinct images that could not be decoded.
    pub broken_images: usize,
    /// Training images per epoch.
    pub train_images: usize,
    /// Number of classes.
    pub classes: usize,
    /// Learned values of the network.
    pub parameters: usize,
    /// The weights' file.
    pub weights: PathBuf,
    /// Everything that determines the run's results.
    pub settings: Settings,
}

impl RunSummary {
    /// Writes the summary as JSON to `path`, atomically.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = AtomicWriteFile::open(path)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.commit()
    }

    /// Facts about the origin of the weights, for their file.
    pub(crate) fn facts(&self) -> Map<String, Value> {
        // Weights are shared; the path of the data on this machine is private.
        let mut settings = self.settings.clone();
        settings.data = settings.data.as_deref().and_then(Path::file_name).map(PathBuf::from);
        settings.fine_tune = settings.fine_tune.map(FineTune::without_place);
        let settings = json_value(&settings);
        let facts = json!({
            "val_top1": self.val_top1,
            "val_top5": self.val_top5,
            "val_images": self.val_images,
            "steps": self.steps,
            "device": self.device,
            "settings": settings,
            "program": concat!("bn-inception-train ", env!("CARGO_PKG_VERSION")),
        });
        match facts {
            Value::Object(facts) => facts,
            _ => Map::new(),
        }
    }
}
