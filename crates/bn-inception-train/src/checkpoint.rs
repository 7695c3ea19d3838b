//! Checkpoints: everything a run needs to go on as if it had never stopped, one file each.
//!
//! # Format
//! `BNICKPT1`, the header's length as a little-endian `u64`, the header as JSON, all arrays as
//! little-endian `f32` in the header's order, and a 64-bit checksum of everything before it. A
//! checkpoint is for the program that wrote it; weights for others are in safetensors.
//!
//! # Safety against crashes
//! A checkpoint is written beside its final name, flushed to the disk and then renamed, so that a
//! file under a checkpoint's name is whole whenever the process or the machine dies. One that is
//! damaged all the same (a full disk when it was copied, say) is an error that names it and the
//! newest older one; resuming never skips it silently, since that would throw work away unasked.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::progress::Progress;
use crate::settings::Settings;
use bn_inception::atomic;

/// Flat arrays by name.
pub type Arrays = BTreeMap<String, Vec<f32>>;

const MAGIC: &[u8; 8] = b"BNICKPT1";

/// The state of a run between two optimizer steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What the run was started with.
    pub settings: Settings,
    /// What it is trained on.
    pub data: DataFacts,
    /// How far it is and what it has found.
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
}

#[derive(Serialize, Deserialize)]
struct Header {
    settings: Settings,
    data: DataFacts,
    progress: Progress,
    /// Group, name and number of elements of each array.
    arrays: Vec<(String, String, u64)>,
}

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not begin as a checkpoint does.
    #[error("{} is not a checkpoint of this program", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The file has another length than its header says.
    #[error("checkpoint {} is cut short: {found} bytes of {expected} or more", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The length it should have.
        expected: u64,
    },
    /// The file has the right length and the wrong content.
    #[error("checkpoint {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Checkpoint {
    /// Writes the checkpoint to `path`, replacing what is there only once the new file is whole
    /// and on the disk.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] with the path; a file that was there before is untouched then.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let io = |source| CheckpointError::Io {
            path: path.to_owned(),
            source,
        };
        let bytes = self.encode().map_err(|error| io(error.into()))?;
        atomic::write(path, &bytes).map_err(io)
    }

    /// Reads the checkpoint at `path`.
    ///
    /// # Errors
    /// Every kind of [`CheckpointError`]; each names the file.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = fs::read(path).map_err(|source| CheckpointError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::decode(&bytes, path)
    }

    fn groups(&self) -> [(&'static str, &Arrays); 3] {
        [
            ("model", &self.model),
            ("velocity", &self.velocity),
            ("average", &self.average),
        ]
    }

    fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let mut arrays = Vec::new();
        for (group, members) in self.groups() {
            for (name, values) in members {
                arrays.push((group.to_owned(), name.clone(), values.len() as u64));
            }
        }
        let header = serde_json::to_vec(&Header {
            settings: self.settings.clone(),
            data: self.data.clone(),
            progress: self.progress.clone(),
            arrays,
        })?;
        let mut bytes = Vec::from(MAGIC);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for (_, members) in self.groups() {
            for values in members.values() {
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        bytes.extend(checksum(&bytes).to_le_bytes());
        Ok(bytes)
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let cut_short = |expected: u64| CheckpointError::CutShort {
            path: path.to_owned(),
            found: bytes.len() as u64,
            expected,
        };
        let damaged = |what: String| CheckpointError::Damaged {
            path: path.to_owned(),
            what,
        };
        let magic = &bytes[..MAGIC.len().min(bytes.len())];
        if magic != &MAGIC[..magic.len()] {
            return Err(CheckpointError::NotACheckpoint {
                path: path.to_owned(),
            });
        }
        let Some((length, rest)) = bytes
            .get(8..)
            .and_then(|rest| rest.split_first_chunk::<8>())
        else {
            return Err(cut_short(16));
        };
        let length = u64::from_le_bytes(*length);
        let Some((header, rest)) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
        else {
            return Err(cut_short(length.saturating_add(24)));
        };
        let header: Header =
            serde_json::from_slice(header).map_err(|error| damaged(error.to_string()))?;
        let expected = header
            .arrays
            .iter()
            .fold(length.saturating_add(24), |sum, (_, _, n)| {
                sum.saturating_add(n.saturating_mul(4))
            });
        if bytes.len() as u64 != expected {
            return Err(cut_short(expected));
        }
        let (content, sum) = bytes.split_at(bytes.len() - 8);
        if checksum(content).to_le_bytes() != sum {
            return Err(damaged(
                "its checksum does not match its content".to_owned(),
            ));
        }

        let mut checkpoint = Self {
            settings: header.settings,
            data: header.data,
            progress: header.progress,
            model: Arrays::new(),
            velocity: Arrays::new(),
            average: Arrays::new(),
        };
        let mut rest = rest;
        for (group, name, elements) in header.arrays {
            let group = match group.as_str() {
                "model" => &mut checkpoint.model,
                "velocity" => &mut checkpoint.velocity,
                "average" => &mut checkpoint.average,
                other => return Err(damaged(format!("unknown group `{other}`"))),
            };
            // The lengths were checked against the file's above.
            let (array, after) = rest.split_at(elements as usize * 4);
            rest = after;
            let (values, _) = array.as_chunks::<4>();
            group.insert(
                name,
                values
                    .iter()
                    .map(|value| f32::from_le_bytes(*value))
                    .collect(),
            );
        }
        Ok(checkpoint)
    }
}

/// FNV-1a over 8-byte words; it guards against accidents, not against forgery.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let tail = tail.iter().map(|byte| u64::from(*byte));
    words.chain(tail).fold(0xcbf2_9ce4_8422_2325, |sum, word| {
        (sum ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let arrays = |values: &[f32]| Arrays::from([("w".to_owned(), values.to_vec())]);
        Checkpoint {
            settings: Settings::for_tests(),
            data: DataFacts {
                classes: vec!["cat".to_owned(), "dog".to_owned()],
                train_images: 7,
                val_images: 3,
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
            assert!(
                matches!(error, CheckpointError::CutShort { .. }),
                "{length}: {error}"
            );
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
        let error = Checkpoint::decode(b"{}", path).unwrap_err();
        assert!(
            matches!(error, CheckpointError::NotACheckpoint { .. }),
            "{error}"
        );
    }
}
