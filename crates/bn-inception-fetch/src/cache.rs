//! Files of the cache.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::FetchProblem;
use crate::source::{LARGEST_FILE, Source};

/// The verified content of `path`, or `None` if there is no such file.
pub(crate) fn cached(source: &Source, path: &Path) -> Result<Option<Vec<u8>>, FetchProblem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    let damaged = |mismatch| FetchProblem::Damaged { path: path.to_owned(), mismatch };
    let size = file.metadata().map_err(io_at(path))?.len();
    source.check_size(size).map_err(damaged)?;
    let mut bytes = Vec::with_capacity(size as usize);
    // The file may have grown since it was measured.
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(io_at(path))?;
    source.check(&bytes).map_err(damaged)?;
    Ok(Some(bytes))
}

/// An error of the file at `path`.
pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> FetchProblem {
    let path = path.to_owned();
    |source| FetchProblem::Io { path, source }
}
