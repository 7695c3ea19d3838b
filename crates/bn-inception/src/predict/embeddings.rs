//! Files of vectors: an array, and beside it what its rows are.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;
use bn_inception_data::{NpyArray, NpyError, read_npy, write_npy};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::pool::Pooling;

/// Name of the tensor in a safetensors file.
const TENSOR: &str = "embeddings";

/// Vectors of images, with the names of their files.
///
/// The vectors are an array `[rows, dimension]` in `.npy` or, as the tensor `embeddings`, in `.safetensors`; what they are
/// is in a JSON file beside it, whose name is the array's with `.json` added.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Length of each vector.
    pub dimension: usize,
    /// The vectors, one after the other.
    pub values: Vec<f32>,
    /// Their origin; `None` for an array from elsewhere.
    pub info: Option<EmbeddingsInfo>,
}

/// Content of a file of vectors, as JSON beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingsInfo {
    /// Name or path of the weights.
    pub weights: String,
    /// End point of the network.
    pub end_point: String,
    /// Pooling of its map.
    pub pooling: Pooling,
    /// True if the vectors have length 1.
    pub normalised: bool,
    /// True if the network saw whole images, false if their centre squares.
    pub whole_image: bool,
    /// Name of each row: a file, the files of an example with blanks between them, or an array with `#` and the number of
    /// the example in it.
    pub names: Vec<String>,
    /// Files that have no row.
    pub left_out: Vec<LeftOut>,
}

/// A file without a vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// A file of vectors that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct EmbeddingsError {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    pub problem: EmbeddingsProblem,
}

/// A problem with a file of vectors.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingsProblem {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no array of 32-bit floats.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// It is no safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafeTensorError),
    /// The JSON beside the array cannot be parsed.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The name has another extension.
    #[error("vectors are kept as .npy or .safetensors")]
    Extension,
    /// The array has other than two dimensions, a dimension of 0, or other values than 32-bit floats.
    #[error("an array of shape {shape:?} of {kind}, expected [rows, dimension] of 32-bit floats")]
    Shape {
        /// Its shape.
        shape: Vec<usize>,
        /// Its type.
        kind: String,
    },
    /// There is not one name for each row.
    #[error("{names} names for {rows} rows")]
    Names {
        /// Number of names.
        names: usize,
        /// Number of rows.
        rows: usize,
    },
}

/// The file beside the array at `path`.
pub fn info_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

impl Embeddings {
    /// Number of vectors.
    pub fn rows(&self) -> usize {
        self.values.len() / self.dimension.max(1)
    }

    /// Name of a row: that in the file beside the array, or its number.
    pub fn name(&self, row: usize) -> String {
        let name = self.info.as_ref().and_then(|info| info.names.get(row));
        name.cloned().unwrap_or_else(|| row.to_string())
    }

    /// Reads the vectors at `path`, and what they are if there is a file beside them.
    ///
    /// # Errors
    /// [`EmbeddingsError`], which names the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, EmbeddingsError> {
        let path = path.as_ref();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |problem| EmbeddingsError { path, problem }
        };
        let (dimension, values) = read_array(path).map_err(failed(path))?;
        let beside = info_path(path);
        let info = read_info(&beside).map_err(failed(&beside))?;
        let embeddings = Self { dimension, values, info };
        embeddings.check_names().map_err(failed(&beside))?;
        Ok(embeddings)
    }

    /// Writes the vectors to `path`, `.npy` or `.safetensors`, and what they are to a file beside it, each atomically.
    ///
    /// # Errors
    /// [`EmbeddingsError`], which names the file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), EmbeddingsError> {
        let path = path.as_ref();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |problem| EmbeddingsError { path, problem }
        };
        let beside = info_path(path);
        self.check_names().map_err(failed(&beside))?;
        if let Some(info) = &self.info {
            write_info(&beside, info).map_err(failed(&beside))?;
        }
        self.write_array(path).map_err(failed(path))
    }

    fn check_names(&self) -> Result<(), EmbeddingsProblem> {
        let rows = self.rows();
        match &self.info {
            Some(info) if info.names.len() != rows => Err(EmbeddingsProblem::Names { names: info.names.len(), rows }),
            _ => Ok(()),
        }
    }

    fn write_array(&self, path: &Path) -> Result<(), EmbeddingsProblem> {
        let shape = [self.rows(), self.dimension];
        let mut file = BufWriter::new(AtomicWriteFile::open(path)?);
        if is_safetensors(path)? {
            let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let tensor = TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?;
            file.write_all(&safetensors::serialize([(TENSOR, tensor)], None::<HashMap<String, String>>)?)?;
        } else {
            write_npy(&mut file, &shape, &self.values)?;
        }
        Ok(file.into_inner().map_err(io::IntoInnerError::into_error)?.commit()?)
    }
}

/// True for `.safetensors`, false for `.npy`.
fn is_safetensors(path: &Path) -> Result<bool, EmbeddingsProblem> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Ok(false),
        Some("safetensors") => Ok(true),
        _ => Err(EmbeddingsProblem::Extension),
    }
}

fn read_array(path: &Path) -> Result<(usize, Vec<f32>), EmbeddingsProblem> {
    let (shape, values) = if is_safetensors(path)? {
        let bytes = fs::read(path)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let tensor = file.tensor(TENSOR)?;
        let shape = tensor.shape().to_vec();
        if tensor.dtype() != Dtype::F32 {
            return Err(EmbeddingsProblem::Shape { shape, kind: format!("{:?}", tensor.dtype()) });
        }
        let (words, _) = tensor.data().as_chunks::<4>();
        (shape, words.iter().copied().map(f32::from_le_bytes).collect())
    } else {
        let NpyArray { shape, values } = read_npy(path)?;
        (shape, values)
    };
    match shape.as_slice() {
        [_, dimension] if *dimension > 0 => Ok((*dimension, values)),
        _ => Err(EmbeddingsProblem::Shape { shape, kind: "F32".to_owned() }),
    }
}

fn read_info(path: &Path) -> Result<Option<EmbeddingsInfo>, EmbeddingsProblem> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write_info(path: &Path, info: &EmbeddingsInfo) -> Result<(), EmbeddingsProblem> {
    let mut file = AtomicWriteFile::open(path)?;
    serde_json::to_writer_pretty(BufWriter::new(&mut file), info)?;
    file.write_all(b"\n")?;
    Ok(file.commit()?)
}
