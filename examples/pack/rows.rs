//! Images in Parquet files, as Hugging Face publishes `imagenet-1k`: columns `image` (bytes, path) and `label`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bn_inception_examples::Failure;
use bn_inception_train::data::Split;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::Value;

use crate::image::Image;

/// Metadata of a file in which Hugging Face describes the columns.
const DESCRIPTION: &str = "huggingface";

/// The rows of several files, in order.
pub struct Rows {
    files: Vec<(PathBuf, SerializedFileReader<File>)>,
    groups: Vec<Group>,
    /// The images of the group that was read last.
    last: RefCell<Option<(usize, Vec<Vec<u8>>)>>,
}

/// A row group: its file, its number there, its first row and the one past its last.
struct Group {
    file: usize,
    number: usize,
    rows: Range<usize>,
}

/// The files of a part in the folder `path`, or in its folder `data`, in the order of their names: `train-*.parquet`,
/// `validation-*.parquet`.
///
/// # Errors
/// [`Failure`] if a folder cannot be read.
pub fn files(path: &Path, split: Split) -> Result<Vec<PathBuf>, Failure> {
    let starts: &[&str] = match split {
        Split::Train => &["train-"],
        Split::Val => &["validation-", "val-"],
    };
    let mut files = Vec::new();
    for folder in [path.to_path_buf(), path.join("data")].iter().filter(|folder| folder.is_dir()) {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".parquet") && starts.iter().any(|start| name.starts_with(start)) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The rows of `files`, the names of the classes, and name and class of each row. The images are not read.
///
/// # Errors
/// [`Failure`] naming the file that cannot be read, or lacks a column.
pub fn open(files: Vec<PathBuf>) -> Result<(Rows, Vec<String>, Vec<Image>), Failure> {
    let (mut readers, mut groups, mut labelled) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = None;
    for path in files {
        let in_file = |error: &dyn Error| format!("{}: {error}", path.display());
        let reader = SerializedFileReader::new(File::open(&path).map_err(|error| in_file(&error))?);
        let reader = reader.map_err(|error| in_file(&error))?;
        let metadata = reader.metadata();
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let start = groups.last().map_or(0, |last: &Group| last.rows.end);
            let rows = start..start + usize::try_from(group.num_rows()).map_err(|error| in_file(&error))?;
            groups.push(Group { file: readers.len(), number, rows });
        }
        let facts = metadata.file_metadata().key_value_metadata();
        let facts = facts.into_iter().flatten().find(|fact| fact.key == DESCRIPTION);
        names = names.or_else(|| class_names(facts?.value.as_deref()?));
        let columns = without_bytes(metadata.file_metadata().schema());
        let columns = columns.ok_or_else(|| format!("{}: no columns image (bytes, path) and label", path.display()))?;
        for row in reader.get_row_iter(Some(columns)).map_err(|error| in_file(&error))? {
            let row = row.map_err(|error| in_file(&error))?;
            let label = match field(&row, "label") {
                Some(Field::Long(label)) => usize::try_from(*label).ok(),
                Some(Field::Int(label)) => usize::try_from(*label).ok(),
                _ => None,
            };
            let label = label.ok_or_else(|| format!("{}: row {} has no label", path.display(), labelled.len()))?;
            let file = match image_field(&row, "path") {
                Some(Field::Str(file)) => file.rsplit('/').next().unwrap_or_default().to_owned(),
                _ => format!("{:08}.jpg", labelled.len()),
            };
            labelled.push((file, label));
        }
        readers.push((path, reader));
    }
    let count = labelled.iter().map(|(_, label)| label + 1).max().unwrap_or(0);
    let ids = word_net_ids(&labelled, count);
    let named = names.filter(|names| names.len() >= count);
    let classes = match (&ids, named) {
        (Some(ids), _) => ids.clone(),
        (None, Some(names)) => names,
        (None, None) => (0..count).map(|number| number.to_string()).collect(),
    };
    let images = labelled.into_iter().map(|(file, class)| {
        // ImageNet's own name of the file is what precedes the id.
        let file = if ids.is_some() { file.replacen(&format!("_{}.", classes[class]), ".", 1) } else { file };
        Image { name: format!("{}/{file}", classes[class]), class }
    });
    let images = images.collect();
    Ok((Rows { files: readers, groups, last: RefCell::default() }, classes, images))
}

/// The schema's columns `image.path` and `label` alone.
fn without_bytes(schema: &Type) -> Option<Type> {
    let column = |of: &Type, name: &str| of.get_fields().iter().find(|field| field.name() == name).cloned();
    let (image, label) = (column(schema, "image")?, column(schema, "label")?);
    if !image.is_group() {
        return None;
    }
    let path = column(&image, "path")?;
    let group = |of: &Type, fields: Vec<Arc<Type>>| {
        let mut group = Type::group_type_builder(of.name()).with_fields(fields);
        if of.get_basic_info().has_repetition() {
            group = group.with_repetition(of.get_basic_info().repetition());
        }
        group.build().ok()
    };
    let image = group(&image, vec![path])?;
    group(schema, vec![Arc::new(image), label])
}

fn field<'a>(row: &'a Row, name: &str) -> Option<&'a Field> {
    row.get_column_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
}

fn image_field<'a>(row: &'a Row, name: &str) -> Option<&'a Field> {
    match field(row, "image")? {
        Field::Group(image) => field(image, name),
        _ => None,
    }
}

/// The names of the feature `label` in Hugging Face's description.
fn class_names(text: &str) -> Option<Vec<String>> {
    let description: Value = serde_json::from_str(text).ok()?;
    let names = description.pointer("/info/features/label/names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// The WordNet id of each class, if every file's name ends in that of its class: `n01440764_10026_n01440764.JPEG`.
fn word_net_ids(labelled: &[(String, usize)], count: usize) -> Option<Vec<String>> {
    let mut ids = BTreeMap::new();
    for (file, label) in labelled {
        let id = file.rsplit_once('.')?.0.rsplit_once('_')?.1;
        let is_id = id.len() == 9 && id.starts_with('n') && id[1..].bytes().all(|byte| byte.is_ascii_digit());
        if !is_id || *ids.entry(*label).or_insert(id) != id {
            return None;
        }
    }
    let ids: Vec<_> = ids.into_values().map(str::to_owned).collect();
    (ids.len() == count).then_some(ids)
}

impl Rows {
    /// The images of the rows in `range`.
    ///
    /// # Errors
    /// [`Failure`] naming the file that cannot be read.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<Vec<u8>>, Failure> {
        let mut images = Vec::with_capacity(range.len());
        for (index, group) in self.groups.iter().enumerate() {
            let start = range.start.max(group.rows.start);
            let end = range.end.min(group.rows.end);
            if start >= end {
                continue;
            }
            let mut last = self.last.borrow_mut();
            let of_group = match last.as_ref() {
                Some((known, images)) if *known == index => images,
                _ => &last.insert((index, self.read_group(group)?)).1,
            };
            images.extend_from_slice(&of_group[start - group.rows.start..end - group.rows.start]);
        }
        Ok(images)
    }

    fn read_group(&self, group: &Group) -> Result<Vec<Vec<u8>>, Failure> {
        let (path, reader) = &self.files[group.file];
        let in_file = |error: &dyn Error| format!("{}: {error}", path.display());
        let rows = reader.get_row_group(group.number).map_err(|error| in_file(&error))?;
        let rows = rows.get_row_iter(None).map_err(|error| in_file(&error))?;
        let mut images = Vec::with_capacity(group.rows.len());
        for row in rows {
            let row = row.map_err(|error| in_file(&error))?;
            match image_field(&row, "bytes") {
                Some(Field::Bytes(bytes)) => images.push(bytes.data().to_vec()),
                _ => return Err(format!("{}: row {} has no image", path.display(), images.len()).into()),
            }
        }
        if images.len() != group.rows.len() {
            return Err(format!("{}: {} rows, expected {}", path.display(), images.len(), group.rows.len()).into());
        }
        Ok(images)
    }
}
