//! WebDataset shards: `NAME-train-0000.tar …`, in which the files of one image share a key, their path up to the first dot
//! of its last part.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::archive::{Archive, read_range};
use super::error::DatasetError;
use super::index::{Found, Inputs, listing};
use super::listing::{Listing, Place, Sample, sort};
use super::members::{Member, members};
use super::split::Split;
use crate::files::{entries, name_of};

/// Endings of an image.
const IMAGES: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];
/// Ending of a class number.
const CLASS: &str = "cls";
/// Ending of an object whose `label` is a class number.
const OBJECT: &str = "json";
/// Lists of class names, in the order of their numbers: one a line, or the names of the feature `label`.
const NAMES: [&str; 4] = ["classes.txt", "dataset_info.json", "dataset_infos.json", "_info.json"];
/// Largest class number or object that is read.
const MAX_LABEL: u64 = 1 << 20;

/// The part of a dataset in the names of its shards.
fn markers(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["-train-"],
        Split::Val => &["-val-", "-validation-"],
    }
}

/// The shards of a part of the dataset in `dir`, in the order of their names.
pub(super) fn find(dir: &Path, split: Split) -> Result<Vec<PathBuf>, DatasetError> {
    let paths = entries(dir)?.into_iter().map(|entry| entry.path);
    let is_shard = |path: &PathBuf| {
        let name = name_of(path);
        name.ends_with(".tar") && markers(split).iter().any(|marker| name.contains(marker))
    };
    let mut shards: Vec<_> = paths.filter(is_shard).collect();
    shards.sort();
    Ok(shards)
}

/// Lists a part of the dataset in `dir`.
pub(super) fn list(dir: &Path, split: Split) -> Result<Listing, DatasetError> {
    let shards = find(dir, split)?;
    if shards.is_empty() {
        let names: Vec<_> = markers(split).iter().map(|marker| format!("*{marker}*.tar")).collect();
        let expected = format!("shards of the {split} part, {}", names.join(" or "));
        return Err(DatasetError::MissingFile { dir: dir.to_path_buf(), expected });
    }
    let prefix = |shard: &Path| {
        let name = name_of(shard);
        markers(split).iter().find_map(|marker| Some(name.split_once(marker)?.0.to_owned()))
    };
    if let Some(other) = shards.iter().find(|shard| prefix(shard) != prefix(&shards[0])) {
        let reason = format!("a shard of another dataset than {}: expected one a folder", name_of(&shards[0]));
        return Err(DatasetError::labels(other, reason));
    }
    list_of(dir, dir, &shards, split)
}

/// Lists the samples of `shards`, with class names from a file in `dir`.
pub(super) fn list_of(root: &Path, dir: &Path, shards: &[PathBuf], split: Split) -> Result<Listing, DatasetError> {
    let names: Vec<_> = NAMES.iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect();
    let inputs = Inputs { root, archives: shards, labels: &names };
    listing(&inputs, split, |archives| found(root, archives, &names, split))
}

fn found(root: &Path, archives: &[Archive], names: &[PathBuf], split: Split) -> Result<Found, DatasetError> {
    let names = names.iter().map(|path| class_names(path));
    let names: Option<Vec<String>> = names.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().next();
    let (mut labelled, mut left_out) = (Vec::new(), Vec::new());
    for (number, archive) in archives.iter().enumerate() {
        let file = archive.open().map_err(DatasetError::io(&archive.path))?;
        let members = members(&file, 0, archive.facts.bytes).map_err(DatasetError::archive(&archive.path))?;
        for (_, group) in groups(members) {
            let Some(image) = image(archive, &group)? else {
                left_out.extend(group.into_iter().map(|member| archive.path.join(member.path)));
                continue;
            };
            let label = label(archive, &file, image, &group)?;
            let place = Place::Range { archive: number as u32, offset: image.offset, length: image.length };
            labelled.push((image.path.clone(), label, place));
        }
    }
    let Some(last) = labelled.iter().map(|(_, label, _)| *label).max() else {
        return Err(DatasetError::NoImages { path: root.to_path_buf(), split, expected: "KEY.jpg with KEY.cls" });
    };
    let classes = match names {
        Some(names) if last as usize >= names.len() => {
            let reason = format!("an image has class {last}, but there are names of {} classes", names.len());
            return Err(DatasetError::labels(root, reason));
        }
        Some(names) => names,
        None => (0..=last).map(|number| number.to_string()).collect(),
    };
    let mut samples: Vec<_> = labelled
        .into_iter()
        .map(|(path, class, place)| {
            let folder = &classes[class as usize];
            let is_below = path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'));
            let name = if is_below { PathBuf::from(path) } else { Path::new(folder).join(path) };
            Sample { name: name.into_boxed_path(), class, place }
        })
        .collect();
    sort(&mut samples);
    left_out.sort();
    Ok(Found { classes, samples, left_out })
}

/// The files of each key.
fn groups(members: Vec<Member>) -> BTreeMap<String, Vec<Member>> {
    let mut groups: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for member in members.into_iter().filter(|member| member.is_file && !member.is_hidden()) {
        let key = member.path.len() - ending(&member).len();
        groups.entry(member.path[..key].to_owned()).or_default().push(member);
    }
    groups
}

/// What follows the first dot of the file's name.
fn ending(member: &Member) -> &str {
    member.file_name().split_once('.').map_or("", |(_, ending)| ending)
}

/// The members with one of these endings.
fn with_ending<'a>(group: &'a [Member], endings: &[&str]) -> impl Iterator<Item = &'a Member> {
    group.iter().filter(|member| endings.iter().any(|known| known.eq_ignore_ascii_case(ending(member))))
}

/// The image of a key, if it has one.
fn image<'a>(archive: &Archive, group: &'a [Member]) -> Result<Option<&'a Member>, DatasetError> {
    let mut images = with_ending(group, &IMAGES);
    match (images.next(), images.next()) {
        (Some(image), Some(second)) => {
            let reason = format!("its key has a second image, {}", second.file_name());
            Err(DatasetError::labels(archive.path.join(&image.path), reason))
        }
        (image, _) => Ok(image),
    }
}

/// The class number of an image, from the files of its key.
fn label(archive: &Archive, file: &File, image: &Member, group: &[Member]) -> Result<u32, DatasetError> {
    let wrong = |reason: String| DatasetError::labels(archive.path.join(&image.path), reason);
    let label = with_ending(group, &[CLASS]).chain(with_ending(group, &[OBJECT])).next().ok_or_else(|| {
        wrong("it has no class: expected a file .cls, or .json with \"label\", of the same key".to_owned())
    })?;
    let bytes = read_range(file, label.offset, label.length.min(MAX_LABEL) as usize);
    let bytes = bytes.map_err(DatasetError::io(archive.path.join(&label.path)))?;
    class_number(&bytes, ending(label)).ok_or_else(|| {
        let start: String = String::from_utf8_lossy(&bytes).chars().take(40).collect();
        wrong(format!("its class in {} is no number: {start:?}", label.file_name()))
    })
}

/// The number in a file of class or object.
fn class_number(bytes: &[u8], ending: &str) -> Option<u32> {
    if ending.eq_ignore_ascii_case(CLASS) {
        return std::str::from_utf8(bytes).ok()?.trim().parse().ok();
    }
    let object: Value = serde_json::from_slice(bytes).ok()?;
    u32::try_from(object.get("label")?.as_u64()?).ok()
}

/// The names in a file of class names; `None` if it has none.
fn class_names(path: &Path) -> Result<Option<Vec<String>>, DatasetError> {
    let text = fs::read_to_string(path).map_err(DatasetError::io(path))?;
    if path.extension().is_some_and(|ending| ending == "txt") {
        let names = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        return Ok(Some(names.collect()));
    }
    let object: Value = serde_json::from_str(&text).map_err(|error| DatasetError::labels(path, error.to_string()))?;
    Ok(label_names(&object))
}

/// `names` of the first feature called `label` or `cls`, at any depth: a list, or an object with numbers as keys.
fn label_names(value: &Value) -> Option<Vec<String>> {
    let children: Vec<&Value> = match value {
        Value::Object(object) => {
            let feature = ["label", CLASS].iter().find_map(|name| object.get(*name));
            if let Some(names) = feature.and_then(find_names) {
                return Some(names);
            }
            object.values().collect()
        }
        Value::Array(values) => values.iter().collect(),
        _ => return None,
    };
    children.into_iter().find_map(label_names)
}

fn find_names(feature: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match feature.as_object()?.get("names") {
        Some(Value::Array(names)) => names.iter().map(text).collect(),
        Some(Value::Object(names)) => (0..names.len()).map(|number| text(names.get(&number.to_string())?)).collect(),
        // `"label": {"dtype": {"class_label": {"names": …}}}`, as in a dataset card.
        _ => feature.as_object()?.values().find_map(find_names),
    }
}
