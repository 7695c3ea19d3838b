//! Kaggle's layout of ImageNet: `CLS-LOC/train/CLASS/*`, `CLS-LOC/val/*` in one folder, and a table of its labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::folder;
use super::listing::{Listing, Place, classify};
use super::split::Split;
use crate::files::{FileList, name_of};

/// Name of the table.
pub(super) const SOLUTION: &str = "LOC_val_solution.csv";

/// Lists a part of the folder `images`, with the labels of `solution` for validation.
pub(super) fn list(images: &Path, solution: Option<&Path>, split: Split) -> Result<Listing, DatasetError> {
    let root = images.join(split.folder());
    if split == Split::Train {
        return folder::list(&root);
    }
    let solution = solution.ok_or_else(|| DatasetError::MissingFile {
        dir: images.to_path_buf(),
        expected: format!("{SOLUTION}, the classes of its validation images (nor do the folders above it)"),
    })?;
    let labels = read_solution(solution)?;
    let FileList { images, arrays, others } = FileList::below(&root)?;
    let mut pairs = Vec::with_capacity(images.len());
    let mut left_out: Vec<PathBuf> = arrays.into_iter().chain(others).collect();
    for path in images {
        if path.parent() != Some(root.as_path()) {
            left_out.push(path);
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let class = labels.get(&stem).ok_or_else(|| DatasetError::labels(&path, no_label(solution)))?;
        let name = Path::new(class).join(name_of(&path)).into_boxed_path();
        pairs.push((class.clone(), name, Place::Flat));
    }
    if pairs.is_empty() {
        return Err(DatasetError::NoImages { path: root, split, expected: "*.JPEG" });
    }
    left_out.sort();
    let (classes, samples) = classify(pairs);
    Ok(Listing { root, classes, samples, archives: Vec::new(), left_out })
}

fn no_label(solution: &Path) -> String {
    format!("{} has no class of this image", solution.display())
}

/// Class by image, without its ending: rows `IMAGE,CLASS x1 y1 x2 y2 …` below a heading.
pub(super) fn read_solution(path: &Path) -> Result<HashMap<String, String>, DatasetError> {
    let wrong = |error: csv::Error| DatasetError::labels(path, error.to_string());
    let mut labels = HashMap::new();
    for row in csv::Reader::from_path(path).map_err(wrong)?.records() {
        let row = row.map_err(wrong)?;
        let line = row.position().map_or(0, csv::Position::line);
        let class = row.get(1).and_then(|boxes| boxes.split_whitespace().next());
        let (Some(image), Some(class)) = (row.get(0), class) else {
            return Err(DatasetError::labels(path, format!("line {line}: expected IMAGE,CLASS x1 y1 x2 y2 …")));
        };
        labels.insert(image.to_owned(), class.to_owned());
    }
    Ok(labels)
}
