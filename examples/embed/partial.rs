//! The vectors of an unfinished run, in a file beside the array it will write.
//!
//! The first line is the [`Settings`] as JSON. Each batch is a line of names and of files left out, and the values of the
//! vectors after it. A record that was cut short is dropped when the run goes on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bn_inception::weights::Weights;
use bn_inception::{LeftOut, Pooling};
use bn_inception_examples::Failure;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Settings that the vectors depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Hash of the network.
    pub weights: String,
    pub end_point: String,
    pub pooling: Pooling,
    pub normalised: bool,
    pub whole_image: bool,
    pub dimension: usize,
    /// Its name; another one rounds differently.
    pub device: String,
    /// Another one may round differently, too.
    pub batch_size: usize,
    /// Hash of the names of all examples, in order.
    pub inputs: String,
}

/// The vectors of one batch, or of several.
#[derive(Debug, Default, PartialEq)]
pub struct Record {
    pub names: Vec<String>,
    pub values: Vec<f32>,
    pub left_out: Vec<LeftOut>,
}

/// The line before the values of a record.
#[derive(Serialize, Deserialize)]
struct Line {
    names: Vec<String>,
    left_out: Vec<LeftOut>,
}

/// The file, locked.
pub struct Partial {
    path: PathBuf,
    file: File,
    dimension: usize,
    /// Length of the first line.
    start: u64,
    /// Vectors added since it was opened.
    added: usize,
}

impl Record {
    pub fn push(&mut self, name: String, vector: &[f32]) {
        self.names.push(name);
        self.values.extend_from_slice(vector);
    }
}

impl Partial {
    /// Opens or begins the file beside `target`, and returns the number of whole batches in it.
    pub fn open(target: &Path, settings: &Settings) -> Result<(Self, usize), Failure> {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let named = |error: io::Error| format!("{}: {error}", path.display());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{}: another process is writing it", path.display()).into());
            }
            Err(TryLockError::Error(error)) => return Err(named(error).into()),
        }
        let header = serde_json::to_string(settings)? + "\n";
        let (start, dimension) = (header.len() as u64, settings.dimension);
        let mut partial = Self { path, file, dimension, start, added: 0 };
        let batches = partial.resume(&header);
        let batches = batches.map_err(|error| format!("{}: {error}", partial.path.display()))?;
        Ok((partial, batches))
    }

    /// Drops what is not of these settings, or not whole, and returns the number of batches left.
    fn resume(&mut self, header: &str) -> io::Result<usize> {
        let length = self.file.metadata()?.len();
        let mut begins = vec![0; header.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        self.file.read_exact(&mut begins)?;
        if begins != header.as_bytes() {
            if length > 0 {
                eprintln!("{}: of another run, and begun anew", self.path.display());
            }
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(header.as_bytes())?;
            return Ok(0);
        }
        let (mut batches, mut whole) = (0, self.start);
        self.each(|_, end| {
            batches += 1;
            whole = end;
        })?;
        self.file.set_len(whole)?;
        self.file.seek(SeekFrom::Start(whole))?;
        Ok(batches)
    }

    /// Calls `act` with each whole record and the position after it.
    fn each(&self, mut act: impl FnMut(Record, u64)) -> io::Result<()> {
        let mut file = BufReader::new(&self.file);
        let mut at = file.seek(SeekFrom::Start(self.start))?;
        loop {
            let mut line = Vec::new();
            at += file.read_until(b'\n', &mut line)? as u64;
            let Ok(Line { names, left_out }) = serde_json::from_slice(&line) else {
                return Ok(());
            };
            let mut bytes = vec![0; names.len() * self.dimension * 4];
            match file.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            at += bytes.len() as u64;
            let (words, _) = bytes.as_chunks::<4>();
            let values = words.iter().copied().map(f32::from_le_bytes).collect();
            act(Record { names, values, left_out }, at);
        }
    }

    /// Adds a batch.
    pub fn add(&mut self, record: Record) -> Result<(), Failure> {
        self.added += record.names.len();
        let Record { names, values, left_out } = record;
        let mut bytes = serde_json::to_vec(&Line { names, left_out })?;
        bytes.push(b'\n');
        bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
        self.file.write_all(&bytes).map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(())
    }

    /// All batches as one, and the number of vectors that this run added.
    pub fn read(&self) -> Result<(Record, usize), Failure> {
        let mut all = Record::default();
        let each = self.each(|record, _| {
            all.names.extend(record.names);
            all.values.extend(record.values);
            all.left_out.extend(record.left_out);
        });
        each.map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok((all, self.added))
    }

    /// Deletes the file.
    pub fn remove(self) -> Result<(), Failure> {
        fs::remove_file(&self.path).map_err(|error| format!("{}: {error}", self.path.display()).into())
    }
}

/// Hash of the tensors, the configuration and the preprocessing of `weights`.
pub fn hash_of(weights: &Weights) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    let metadata = weights.metadata();
    hash.update(serde_json::to_vec(&(&metadata.config, &metadata.preprocess))?);
    for (name, tensor) in weights.state() {
        hash.update(name);
        hash.update(tensor.as_bytes());
    }
    Ok(hexadecimal(hash))
}

/// Hash of names in their order.
pub fn hash_of_names(names: impl Iterator<Item = String>) -> String {
    let mut hash = Sha256::new();
    for name in names {
        hash.update(name);
        hash.update([0]);
    }
    hexadecimal(hash)
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
