//! The shards: what is in which, and how they are written.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;
use bn_inception_examples::{Failure, write_file};
use bn_inception_train::data::{ImageDataset, Split};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::keys::{ending, keys};
use crate::shrink::Shrink;
use crate::source::Part;

/// File that tells what the shards of a folder hold.
const PLAN: &str = "pack.json";
/// Names of the classes, one a line.
const CLASSES: &str = "classes.txt";
/// Images that are in memory at once.
const AT_ONCE: usize = 128;

/// What determines the content of all shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Hash of the names and classes of the images.
    source: String,
    shrink: Option<Shrink>,
    shard_size: usize,
    #[serde(skip)]
    classes: Vec<String>,
}

impl Plan {
    pub fn new(parts: &[Part], shrink: Option<Shrink>, shard_size: usize) -> Self {
        let mut hash = Sha256::new();
        for image in parts.iter().flat_map(|part| part.images.iter()) {
            hash.update(format!("{} {}\n", image.class, image.name));
        }
        let source = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let classes = parts.first().map(|part| part.classes.clone()).unwrap_or_default();
        Self { source, shrink, shard_size, classes }
    }

    /// Makes `to` the folder of these shards.
    ///
    /// # Errors
    /// [`Failure`] if it has other shards or cannot be written.
    pub fn claim(&self, to: &Path) -> Result<(), Failure> {
        let path = to.join(PLAN);
        let in_file = |error: &dyn std::error::Error| format!("{}: {error}", path.display());
        if path.exists() {
            let text = fs::read(&path).map_err(|error| in_file(&error))?;
            let before: Self = serde_json::from_slice(&text).map_err(|error| in_file(&error))?;
            if (&before.source, before.shrink, before.shard_size) != (&self.source, self.shrink, self.shard_size) {
                let to = to.display();
                let reason = "it holds shards of other images, or packed with other flags; choose another folder";
                return Err(format!("{to}: {reason}").into());
            }
        } else if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(format!("{}: the folder is not empty", to.display()).into());
        }
        fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
        // A line holds one name.
        let lines = self.classes.iter().map(|class| class.replace(['\n', '\r'], " ") + "\n");
        write_file(&to.join(CLASSES), lines.collect::<String>().as_bytes())?;
        write_file(&path, &serde_json::to_vec_pretty(self)?)
    }
}

fn shard(to: &Path, split: Split, number: usize) -> PathBuf {
    to.join(format!("images-{split}-{number:04}.tar"))
}

/// Writes the shards of `part` that are missing, and calls `done` with numbers of images. Returns how many were to be
/// scaled but cannot be decoded.
///
/// # Errors
/// [`Failure`] naming the file that cannot be read or written.
pub fn write(part: &Part, plan: &Plan, to: &Path, mut done: impl FnMut(usize)) -> Result<usize, Failure> {
    let keys = keys(&part.images);
    let mut kept = 0;
    for (number, start) in (0..part.images.len()).step_by(plan.shard_size).enumerate() {
        let end = part.images.len().min(start + plan.shard_size);
        let path = shard(to, part.split, number);
        if path.exists() {
            done(end - start);
            continue;
        }
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut archive = tar::Builder::new(AtomicWriteFile::open(&path).map_err(failed)?);
        for chunk in (start..end).step_by(AT_ONCE) {
            let range = chunk..end.min(chunk + AT_ONCE);
            let files = part.read(range.clone())?;
            let files: Vec<_> = files.into_par_iter().map(|bytes| packed(bytes, plan.shrink)).collect();
            for (index, (bytes, outcome)) in range.zip(files) {
                kept += usize::from(outcome == Outcome::Undecodable);
                let image = &part.images[index];
                let ending = ending(image, &bytes, outcome == Outcome::Rewritten);
                append(&mut archive, &format!("{}.{ending}", keys[index]), &bytes).map_err(failed)?;
                append(&mut archive, &format!("{}.cls", keys[index]), image.class.to_string().as_bytes())
                    .map_err(failed)?;
                done(1);
            }
        }
        let mut file = archive.into_inner().map_err(failed)?;
        file.flush().and_then(|()| file.commit()).map_err(failed)?;
    }
    Ok(kept)
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Copied,
    Rewritten,
    Undecodable,
}

fn packed(bytes: Vec<u8>, shrink: Option<Shrink>) -> (Vec<u8>, Outcome) {
    match shrink.map(|shrink| shrink.apply(&bytes)) {
        None | Some(Ok(None)) => (bytes, Outcome::Copied),
        Some(Ok(Some(smaller))) => (smaller, Outcome::Rewritten),
        // Training replaces and counts it, as it would have in the source.
        Some(Err(_)) => (bytes, Outcome::Undecodable),
    }
}

fn append(archive: &mut tar::Builder<impl std::io::Write>, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, bytes)
}

/// Opens the shards of `part`, which writes their index, and counts their images.
///
/// # Errors
/// [`Failure`] if some are missing.
pub fn check(part: &Part, to: &Path) -> Result<ImageDataset, Failure> {
    let found = ImageDataset::open_split(to, part.split)?;
    if found.len() != part.images.len() {
        let (found, expected) = (found.len(), part.images.len());
        let split = part.split;
        return Err(format!("{}: {found} images in the {split} shards, expected {expected}", to.display()).into());
    }
    Ok(found)
}
