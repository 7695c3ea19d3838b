//! A folder of images for each class.

use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::listing::{Listing, Place, Sample};
use crate::files::{FileList, entries, name_of};

/// Lists `root/CLASS/**`.
pub(super) fn list(root: &Path) -> Result<Listing, DatasetError> {
    check_folder(root)?;
    let (folders, files): (Vec<_>, Vec<_>) = entries(root)?.into_iter().partition(|entry| entry.is_folder);
    let mut left_out: Vec<PathBuf> = files.into_iter().map(|entry| entry.path).collect();
    let mut classes: Vec<_> = folders.iter().map(|folder| name_of(&folder.path)).collect();
    if classes.is_empty() {
        return Err(DatasetError::NoClasses(root.to_path_buf()));
    }
    classes.sort();
    let mut samples = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let folder = root.join(name);
        let FileList { images, arrays, others } = FileList::below(&folder)?;
        if images.is_empty() {
            return Err(DatasetError::EmptyClass(folder));
        }
        samples.extend(images.iter().map(|file| Sample {
            name: file.strip_prefix(root).unwrap_or(file).into(),
            class: class as u32,
            place: Place::Folder,
        }));
        left_out.extend(arrays.into_iter().chain(others));
    }
    left_out.sort();
    Ok(Listing { root: root.to_path_buf(), classes, samples, archives: Vec::new(), left_out })
}

/// Checks that `path` is a folder.
fn check_folder(path: &Path) -> Result<(), DatasetError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(DatasetError::NotADataset(path.to_path_buf())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(DatasetError::Missing(path.to_path_buf())),
        Err(source) => Err(DatasetError::Io { path: path.to_path_buf(), source }),
    }
}
