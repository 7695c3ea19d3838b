//! One checkpoint in one file.
//!
//! # Format
//! A safetensors file. Its tensors are flat `F32` arrays called `model.NAME`, `velocity.NAME` and `average.NAME`, with
//! the names of [`tensors`](bn_inception::BnInceptionConfig::tensors). Its one metadata entry,
//! `bn_inception_checkpoint`, is a JSON object: the version of the format, settings, data and progress of the run, and
//! the SHA-256 of those together with all arrays.
//!
//! # Safety against crashes
//! A checkpoint is written beside its final name, flushed to the disk and then renamed, so that a file under a
//! checkpoint's name is complete whenever the process or the machine dies. A damaged one (copied to a full disk, say)
//! is an error that names it and the newest older one; resuming never skips it silently, since that would discard work
//! unasked.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;
use bn_inception::weights::labels;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::progress::Progress;
use crate::settings::Settings;

/// Flat arrays by name.
pub type Arrays = BTreeMap<String, Vec<f32>>;

/// Key of the metadata entry.
pub(crate) const KEY: &str = "bn_inception_checkpoint";

/// Version of the format.
const SCHEMA: u32 = 1;

/// The state of a run between two optimizer steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Everything that determines the run's results.
    pub settings: Settings,
    /// The dataset it is trained on.
    pub data: DataFacts,
    /// Steps taken and results so far.
    pub progress: Progress,
    /// Parameters and running statistics of the network.
    pub model: Arrays,
    /// Velocity of the optimizer.
    pub velocity: Arrays,
    /// Moving average of the weights; empty if the recipe has none.
    pub average: Arrays,
}

/// The dataset of a run, as far as it must be the same when the run is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Class folders in the order of the logits.
    pub classes: Vec<String>,
    /// Number of training images.
    pub train_images: usize,
    /// Number of validation images.
    pub val_images: usize,
    /// Fingerprint of the file names of each class's training images. Checkpoints of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub train_files: Vec<String>,
    /// Fingerprint of the file names of each class's validation images, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub val_files: Vec<String>,
}

impl DataFacts {
    /// True if the names of files are known, not only their number.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.train_files.is_empty() && !self.val_files.is_empty()
    }
}

impl DataFacts {
    /// Names of the classes, in the order of the logits.
    pub(crate) fn labels(&self) -> Vec<String> {
        self.classes.iter().map(|folder| labels::of_folder(folder).to_owned()).collect()
    }
}

/// The metadata entry.
#[derive(Serialize, Deserialize)]
struct Header {
    schema: u32,
    /// Hexadecimal SHA-256 over `run` and the arrays.
    sha256: String,
    /// [`Facts`] as JSON. A string within the JSON, because a digest is over bytes.
    run: String,
}

#[derive(Deserialize)]
struct Facts {
    settings: Settings,
    data: DataFacts,
    progress: Progress,
}

/// A checkpoint that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder concerned.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file that is not a checkpoint, or is one of an older version.
    #[error("{} is not a checkpoint of this version of the program", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter or longer than its header states.
    #[error("checkpoint {} is cut short: {found} bytes are not all of it", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
    },
    /// The file has the right length but the wrong content.
    #[error("checkpoint {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage found.
        what: String,
    },
}

impl Checkpoint {
    /// Writes the checkpoint to `path` atomically: an existing file is replaced only once the new one is on the disk.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] with the path; an existing file is then unchanged.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let write = || -> io::Result<()> {
            let bytes = self.encode()?;
            let mut file = AtomicWriteFile::open(path)?;
            file.write_all(&bytes)?;
            file.commit()
        };
        write().map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
    }

    /// Reads the checkpoint at `path`.
    ///
    /// # Errors
    /// [`CheckpointError`], which names the file.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = fs::read(path).map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
        Self::decode(&bytes, path)
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let run = json!({
            "settings": self.settings,
            "data": self.data,
            "progress": self.progress,
        });
        let run = run.to_string();
        let mut arrays = BTreeMap::new();
        for (group, members) in [("model", &self.model), ("velocity", &self.velocity), ("average", &self.average)] {
            for (name, values) in members {
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                arrays.insert(format!("{group}.{name}"), bytes);
            }
        }
        let header =
            Header { schema: SCHEMA, sha256: digest(&run, arrays.iter().map(|(name, bytes)| (name, &bytes[..]))), run };
        let header = serde_json::to_string(&header)?;
        let views = arrays.iter().map(|(name, bytes)| {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes)?;
            Ok((name, view))
        });
        views
            .collect::<Result<Vec<_>, SafeTensorError>>()
            .and_then(|views| safetensors::serialize(views, Some([(KEY.to_owned(), header)].into())))
            .map_err(io::Error::other)
    }

    /// Reads the checkpoint of the file `path` from its `bytes`.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let no_checkpoint = || CheckpointError::NotACheckpoint { path: path.to_owned() };
        let damaged = |what: String| CheckpointError::Damaged { path: path.to_owned(), what };
        let invalid = |error: serde_json::Error| damaged(error.to_string());
        let file = SafeTensors::deserialize(bytes).map_err(|error| match error {
            SafeTensorError::HeaderTooSmall
            | SafeTensorError::InvalidHeaderLength
            | SafeTensorError::MetadataIncompleteBuffer => {
                CheckpointError::CutShort { path: path.to_owned(), found: bytes.len() }
            }
            // A checkpoint starts with the length of its header; other files start with bytes that are not a valid
            // length.
            SafeTensorError::HeaderTooLarge => no_checkpoint(),
            other => damaged(other.to_string()),
        })?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let header = metadata.metadata().as_ref();
        let header = header.and_then(|entries| entries.get(KEY));
        let header: Header = serde_json::from_str(header.ok_or_else(no_checkpoint)?).map_err(invalid)?;
        if header.schema != SCHEMA {
            return Err(no_checkpoint());
        }

        let tensors: BTreeMap<String, _> = file.tensors().into_iter().collect();
        let arrays = tensors.iter();
        let arrays = arrays.map(|(name, tensor)| (name, tensor.data()));
        if digest(&header.run, arrays) != header.sha256 {
            return Err(damaged("its checksum does not match its content".to_owned()));
        }
        let facts: Facts = serde_json::from_str(&header.run).map_err(invalid)?;
        let mut checkpoint = Self {
            settings: facts.settings,
            data: facts.data,
            progress: facts.progress,
            model: Arrays::new(),
            velocity: Arrays::new(),
            average: Arrays::new(),
        };
        for (name, tensor) in tensors {
            let group = match name.split_once('.') {
                Some(("model", name)) => Some((&mut checkpoint.model, name)),
                Some(("velocity", name)) => Some((&mut checkpoint.velocity, name)),
                Some(("average", name)) => Some((&mut checkpoint.average, name)),
                _ => None,
            };
            let Some((group, name)) = group.filter(|_| tensor.dtype() == Dtype::F32) else {
                return Err(damaged(format!("unknown array `{name}`")));
            };
            let (values, _) = tensor.data().as_chunks::<4>();
            let values = values.iter().map(|value| f32::from_le_bytes(*value));
            group.insert(name.to_owned(), values.collect());
        }
        Ok(checkpoint)
    }
}

/// SHA-256 in hexadecimal, as a guard against accidents, not against forgery.
fn digest<'a>(run: &str, arrays: impl Iterator<Item = (&'a String, &'a [u8])>) -> String {
    let mut digest = Sha256::new();
    digest.update(run);
    for (name, bytes) in arrays {
        digest.update(name);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    format!("{:x}", digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Choices;

    fn checkpoint() -> Checkpoint {
        let arrays = |values: &[f32]| Arrays::from([("w".to_owned(), values.to_vec())]);
        Checkpoint {
            settings: Choices::default().settings(None, None).unwrap(),
            data: DataFacts {
                classes: vec!["cat".to_owned(), "dog".to_owned()],
                train_images: 7,
                val_images: 3,
                train_files: Vec::new(),
                val_files: Vec::new(),
            },
            progress: Progress::default(),
            model: arrays(&[1.0, f32::MIN_POSITIVE, -0.0]),
            velocity: arrays(&[0.1]),
            average: Arrays::new(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ckpt");
        checkpoint().save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), checkpoint());
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "nothing but the checkpoint is left");
    }

    #[test]
    fn every_cut_is_an_error_that_names_the_file() {
        let path = Path::new("some/step-00000003.ckpt");
        let bytes = checkpoint().encode().unwrap();
        for length in 0..bytes.len() {
            let error = Checkpoint::decode(&bytes[..length], path).unwrap_err();
            assert!(matches!(error, CheckpointError::CutShort { .. }), "{length}: {error}");
            assert!(error.to_string().contains("step-00000003.ckpt"), "{error}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Checkpoint::decode(&longer, path).is_err());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let path = Path::new("a.ckpt");
        let mut bytes = checkpoint().encode().unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 0x10;
            assert!(Checkpoint::decode(&bytes, path).is_err(), "byte {index}");
            bytes[index] ^= 0x10;
        }
    }

    #[test]
    fn foreign_files_are_no_checkpoints() {
        let path = Path::new("a.ckpt");
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        let other = safetensors::serialize([("w", view)], None).unwrap();
        // The last one is the beginning of files of versions before 0.2.
        for bytes in [&b"{\"a\": [1]}"[..], &other, b"BNICKPT1\x10\0\0\0\0\0\0\0{}"] {
            let error = Checkpoint::decode(bytes, path).unwrap_err();
            assert!(matches!(error, CheckpointError::NotACheckpoint { .. }), "{error}");
        }
    }
}
