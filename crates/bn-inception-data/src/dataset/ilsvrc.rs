//! ImageNet's own archives, unextracted: `ILSVRC2012_img_train.tar`, a tar of one tar for each class, and
//! `ILSVRC2012_img_val.tar`, whose classes the development kit tells.

use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::devkit::ValidationLabels;
use super::error::DatasetError;
use super::index::{Found, Inputs, listing};
use super::listing::{Listing, Place, classify};
use super::members::members;
use super::split::Split;

/// Name of the archive of a part.
pub(super) fn archive_name(split: Split) -> &'static str {
    match split {
        Split::Train => "ILSVRC2012_img_train.tar",
        Split::Val => "ILSVRC2012_img_val.tar",
    }
}

/// Lists a part of the archives in `dir`.
pub(super) fn list(dir: &Path, split: Split) -> Result<Listing, DatasetError> {
    let path = dir.join(archive_name(split));
    if !path.exists() {
        let expected = format!("{}, the {split} part", archive_name(split));
        return Err(DatasetError::MissingFile { dir: dir.to_path_buf(), expected });
    }
    let archives = std::slice::from_ref(&path);
    if split == Split::Train {
        return listing(&Inputs { root: dir, archives, labels: &[] }, split, |archives| train(&archives[0]));
    }
    let labels = ValidationLabels::find(dir)?;
    let inputs = Inputs { root: dir, archives, labels: &labels.files() };
    listing(&inputs, split, |archives| validation(&archives[0], &labels))
}

/// The images of the tars in `archive`, each called after its class.
fn train(archive: &Archive) -> Result<Found, DatasetError> {
    let wrong = |source| DatasetError::Archive { path: archive.path.clone(), source };
    let file = archive.open().map_err(DatasetError::io(&archive.path))?;
    let (mut pairs, mut left_out, mut empty) = (Vec::new(), Vec::new(), None);
    for class in members(&file, 0, archive.facts.bytes).map_err(wrong)? {
        let at = archive.path.join(&class.path);
        let name = class.file_name().strip_suffix(".tar").filter(|_| class.is_file && !class.is_hidden());
        let Some(name) = name else {
            left_out.push(at);
            continue;
        };
        let before = pairs.len();
        for image in members(&file, class.offset, class.length).map_err(DatasetError::archive(&at))? {
            if image.is_hidden() {
            } else if image.is_image(&file) {
                let path = Path::new(name).join(&image.path).into_boxed_path();
                let place = Place::Range { archive: 0, offset: image.offset, length: image.length };
                pairs.push((name.to_owned(), path, place));
            } else {
                left_out.push(at.join(&image.path));
            }
        }
        if pairs.len() == before {
            empty = Some(at);
        }
    }
    if let Some(class) = empty {
        return Err(DatasetError::EmptyClass(class));
    }
    finish(archive, pairs, left_out, Split::Train, "one CLASS.tar of images for each class")
}

fn validation(archive: &Archive, labels: &ValidationLabels) -> Result<Found, DatasetError> {
    let wrong = |source| DatasetError::Archive { path: archive.path.clone(), source };
    let file = archive.open().map_err(DatasetError::io(&archive.path))?;
    let class_of = labels.read()?;
    let (mut pairs, mut left_out) = (Vec::new(), Vec::new());
    for image in members(&file, 0, archive.facts.bytes).map_err(wrong)? {
        if image.is_hidden() {
        } else if image.is_image(&file) {
            let class = class_of.class(image.file_name()).map_err(|reason| {
                let reason = format!("{}: {reason}", labels.path().display());
                DatasetError::labels(archive.path.join(&image.path), reason)
            })?;
            let path = Path::new(class).join(image.file_name()).into_boxed_path();
            let place = Place::Range { archive: 0, offset: image.offset, length: image.length };
            pairs.push((class.to_owned(), path, place));
        } else {
            left_out.push(archive.path.join(&image.path));
        }
    }
    finish(archive, pairs, left_out, Split::Val, "*.JPEG")
}

fn finish(
    archive: &Archive,
    pairs: Vec<(String, Box<Path>, Place)>,
    mut left_out: Vec<PathBuf>,
    split: Split,
    expected: &'static str,
) -> Result<Found, DatasetError> {
    if pairs.is_empty() {
        return Err(DatasetError::NoImages { path: archive.path.clone(), split, expected });
    }
    let (classes, samples) = classify(pairs);
    left_out.sort();
    Ok(Found { classes, samples, left_out })
}
