//! Files below a folder, told apart by their content.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::decode::{START, format_of};
use crate::npy;

/// Extensions of files that count as images without a look inside, compared case-insensitively.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Number of names that a message lists; it counts the rest.
const NAMES_LISTED: usize = 5;

/// Content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An image: a file called `.jpg`, `.jpeg` or `.png`, or one whose first bytes are those of a format that
    /// [`decode`](crate::decode::decode) reads.
    Image,
    /// An array of NumPy, `.npy`.
    Array,
    /// Anything else.
    Other,
}

impl Content {
    /// Content of the file at `path`. It is opened only if its name does not tell, and never if it is no regular file but
    /// a pipe or a device.
    ///
    /// # Errors
    /// [`io::Error`] if it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        if is_named_as_image(path) {
            return Ok(Self::Image);
        }
        if !fs::metadata(path)?.is_file() {
            return Ok(Self::Other);
        }
        let mut start = Vec::with_capacity(START);
        File::open(path)?.take(START as u64).read_to_end(&mut start)?;
        Ok(match start {
            start if format_of(&start).is_some() => Self::Image,
            start if start.starts_with(npy::MAGIC) => Self::Array,
            _ => Self::Other,
        })
    }
}

/// A folder that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", .path.display())]
pub struct ListError {
    /// The folder or entry.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// The files at any depth below a folder, each kind in the order of their paths. Names that start with a dot are skipped,
/// and links to folders are not followed, as they may form circles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileList {
    /// Images.
    pub images: Vec<PathBuf>,
    /// Arrays of NumPy.
    pub arrays: Vec<PathBuf>,
    /// All others, those that cannot be read among them.
    pub others: Vec<PathBuf>,
}

impl FileList {
    /// Lists the files below `folder`.
    ///
    /// # Errors
    /// [`ListError`] if a folder cannot be read.
    pub fn below(folder: &Path) -> Result<Self, ListError> {
        let mut list = Self::default();
        list.add(folder)?;
        for files in [&mut list.images, &mut list.arrays, &mut list.others] {
            files.sort();
        }
        Ok(list)
    }

    fn add(&mut self, folder: &Path) -> Result<(), ListError> {
        for Entry { path, is_folder, is_link } in entries(folder)? {
            if is_folder {
                if !is_link {
                    self.add(&path)?;
                }
                continue;
            }
            match Content::of_file(&path) {
                Ok(Content::Image) => self.images.push(path),
                Ok(Content::Array) => self.arrays.push(path),
                Ok(Content::Other) | Err(_) => self.others.push(path),
            }
        }
        Ok(())
    }
}

pub(crate) fn is_named_as_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(found)))
}

/// An entry of a folder.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// `true` for a folder, and for a link to one.
    pub(crate) is_folder: bool,
    pub(crate) is_link: bool,
}

/// The entries of `folder` whose names do not start with a dot (`.DS_Store`, `._photo.jpg`). The folder itself tells what
/// they are; only links are looked up.
pub(crate) fn entries(folder: &Path) -> Result<Vec<Entry>, ListError> {
    let failed = |source| ListError { path: folder.to_path_buf(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        let is_link = kind.is_symlink();
        let is_folder = if is_link { path.is_dir() } else { kind.is_dir() };
        entries.push(Entry { path, is_folder, is_link });
    }
    Ok(entries)
}

pub(crate) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// `3 files are of another kind and left out: a, b, c`, or nothing if there are none.
///
/// ```
/// use bn_inception_data::left_out;
///
/// assert_eq!(left_out(&["a.txt".into()]).as_deref(), Some("1 file is of another kind and left out: a.txt"));
/// assert_eq!(left_out(&[]), None);
/// ```
pub fn left_out(files: &[PathBuf]) -> Option<String> {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let verb = if names.len() == 1 { "file is" } else { "files are" };
    (!names.is_empty()).then(|| format!("{} {verb} of another kind and left out: {}", names.len(), first_names(&names)))
}

/// `a, b and 7 more`: the first few of `names`, and the number of the rest.
pub(crate) fn first_names<S: AsRef<str>>(names: &[S]) -> String {
    let listed: Vec<&str> = names.iter().take(NAMES_LISTED).map(AsRef::as_ref).collect();
    let listed_names = listed.join(", ");
    match names.len() - listed.len() {
        0 => listed_names,
        more => format!("{listed_names} and {more} more"),
    }
}
