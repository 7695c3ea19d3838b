//! Values of ONNX tensors in files beside the model.
//!
//! The model names each file by a path relative to its own folder. A stranger's model must not read anything else: paths
//! that lead out of the folder, themselves or by a symbolic link, are refused. Source: "External Data" in ONNX's
//! documentation.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::array::Budget;
use crate::error::{Problem, shown};
use crate::wire::{Value, fields};

/// Place of the values of a tensor.
#[derive(Debug, Default)]
pub(crate) struct Place<'a> {
    /// Path of the file, relative to the folder of the model.
    location: &'a str,
    /// Position of the first byte.
    offset: u64,
    /// Number of bytes, if the model states it.
    length: Option<u64>,
}

impl<'a> Place<'a> {
    /// Adds an entry of `TensorProto.external_data`, a key and a value.
    pub(crate) fn add(&mut self, entry: Value<'a>) -> Result<(), Problem> {
        let (mut key, mut value) = ("", "");
        for field in fields(entry.bytes()?) {
            match field? {
                (1, text) => key = text.text()?,
                (2, text) => value = text.text()?,
                _ => {}
            }
        }
        let number = || {
            let wrong = || Problem::malformed(format!("external data: {key} is `{}`, expected a number", shown(value)));
            value.parse::<u64>().map_err(|_| wrong())
        };
        match key {
            "location" => self.location = value,
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            // The SHA-1 of the file, which exporters leave out.
            _ => {}
        }
        Ok(())
    }
}

/// The folder of a model.
#[derive(Debug)]
pub(crate) struct Folder<'p> {
    /// `None` for models in memory, which have no files beside them.
    path: Option<&'p Path>,
    /// The files in use, with their lengths in bytes.
    files: BTreeMap<String, (PathBuf, u64)>,
}

impl<'p> Folder<'p> {
    pub(crate) fn new(path: Option<&'p Path>) -> Self {
        Self { path, files: BTreeMap::new() }
    }

    /// Makes room in `budget` for the file at `place`, which holds values of the tensor `name`.
    pub(crate) fn admit(&mut self, name: &str, place: &Place<'_>, budget: &mut Budget) -> Result<(), Problem> {
        if self.files.contains_key(place.location) {
            return Ok(());
        }
        let location = place.location;
        let wrong = |reason: &str| Problem::tensor(name, format!("its values are in `{}`: {reason}", shown(location)));
        let folder = self.path.ok_or_else(|| wrong("a file beside the model, which was read from memory"))?;
        let mut components = Path::new(location).components();
        if location.is_empty() || !components.all(|component| matches!(component, Component::Normal(_))) {
            return Err(wrong("no path inside the folder of the model"));
        }
        let io = |error: io::Error| wrong(&error.to_string());
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let path = folder.join(location).canonicalize().map_err(io)?;
        if !path.starts_with(folder.canonicalize().map_err(io)?) {
            return Err(wrong("a link out of the folder of the model"));
        }
        let found = path.metadata().map_err(io)?;
        if !found.is_file() {
            return Err(wrong("no file"));
        }
        budget.extend(found.len());
        self.files.insert(location.to_owned(), (path, found.len()));
        Ok(())
    }

    /// The `needed` bytes at `place`, whose file was [admitted](Self::admit).
    pub(crate) fn read(&self, name: &str, place: &Place<'_>, needed: u64) -> Result<Vec<u8>, Problem> {
        let Place { location, offset, length } = *place;
        let wrong =
            |reason: String| Problem::tensor(name, format!("its values are in `{}`: {reason}", shown(location)));
        let (path, size) = self.files.get(location).ok_or_else(|| wrong("not open".to_owned()))?;
        if let Some(length) = length.filter(|length| *length != needed) {
            return Err(wrong(format!("{length} bytes, expected {needed}")));
        }
        let left = size.saturating_sub(offset);
        if needed > left {
            return Err(wrong(format!("{needed} bytes from {offset}, of {size} in the file")));
        }
        let read = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = vec![0; needed as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error: io::Error| wrong(error.to_string()))
    }
}
