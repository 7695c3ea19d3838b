//! A single tar archive: of a folder with train/CLASS/* and val/CLASS/*, of class folders alone, or a shard.

use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::error::DatasetError;
use super::index::{Found, Inputs, listing};
use super::listing::{Listing, Place, classify};
use super::members::{Member, members};
use super::shards;
use super::split::Split;

/// Lists a part of the archive at `path`, `[…/]train/CLASS/*`.
pub(super) fn list(path: &Path, split: Split) -> Result<Listing, DatasetError> {
    listing(&inputs(path, &[path.to_path_buf()]), split, |archives| {
        let below = |member: &Member| {
            let mut parts = member.path.split('/');
            parts.find(|part| *part == split.folder())?;
            Some(parts.collect::<Vec<_>>().join("/"))
        };
        found(&archives[0], split, "train/CLASS/*.jpg and val/CLASS/*.jpg", below)
    })
}

/// Lists the validation images of the archive at `path`: its `val/CLASS/*`, else all of it as a shard or as `CLASS/*`.
pub(super) fn list_validation(path: &Path) -> Result<Listing, DatasetError> {
    match list(path, Split::Val) {
        Err(DatasetError::NoImages { .. }) => {}
        other => return other,
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    match shards::list_of(path, dir, &[path.to_path_buf()], Split::Val) {
        Err(DatasetError::NoImages { .. } | DatasetError::Labels { .. }) => {}
        other => return other,
    }
    listing(&inputs(path, &[path.to_path_buf()]), Split::Val, |archives| {
        found(&archives[0], Split::Val, "val/CLASS/*.jpg, CLASS/*.jpg, or KEY.jpg with KEY.cls", |member| {
            Some(member.path.clone())
        })
    })
}

fn inputs<'a>(path: &'a Path, archives: &'a [PathBuf]) -> Inputs<'a> {
    Inputs { root: path, archives, labels: &[] }
}

/// The images whose paths `below` turns into `CLASS/*`; it gives `None` for those of another part.
fn found(
    archive: &Archive,
    split: Split,
    expected: &'static str,
    below: impl Fn(&Member) -> Option<String>,
) -> Result<Found, DatasetError> {
    let file = archive.open().map_err(DatasetError::io(&archive.path))?;
    let (mut pairs, mut left_out) = (Vec::new(), Vec::new());
    for member in members(&file, 0, archive.facts.bytes).map_err(DatasetError::archive(&archive.path))? {
        if member.is_hidden() {
            continue;
        }
        let Some(name) = below(&member) else { continue };
        match name.split_once('/') {
            Some((class, _)) if member.is_image(&file) => {
                let place = Place::Range { archive: 0, offset: member.offset, length: member.length };
                pairs.push((class.to_owned(), PathBuf::from(&name).into_boxed_path(), place));
            }
            _ => left_out.push(archive.path.join(&member.path)),
        }
    }
    if pairs.is_empty() {
        return Err(DatasetError::NoImages { path: archive.path.clone(), split, expected });
    }
    let (classes, samples) = classify(pairs);
    left_out.sort();
    Ok(Found { classes, samples, left_out })
}
