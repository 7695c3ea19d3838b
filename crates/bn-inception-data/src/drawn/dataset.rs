//! A drawn dataset on disk: drawn once, complete or absent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::classes::CLASSES;
use super::config::DrawnConfig;
use super::error::DrawnError;
use super::scene::Scene;
use crate::random::from_words;

/// Version of the drawing: to be raised whenever the same configuration would give other pictures.
const SCHEMA: u32 = 1;
const MANIFEST: &str = "manifest.json";
const SPLITS: [&str; 2] = ["train", "val"];

/// A complete drawn dataset on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawnDataset {
    /// The folder that holds `train`, `val` and `manifest.json`.
    pub root: PathBuf,
    /// Image files in both splits together.
    pub images: usize,
    /// `true` if the images were already there.
    pub reused: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    config: DrawnConfig,
}

/// Draws the dataset of `config` as `dir/{train,val}/CLASS/00000.JPEG`, unless it is there already.
///
/// The images are drawn in a hidden folder beside `dir`, which is renamed to `dir` once everything is complete: `dir`
/// never holds part of a dataset, even if the process is killed. Missing parent folders are created; an empty `dir` is
/// replaced. Drawing uses the current rayon thread pool.
///
/// [`DrawnError`] if the configuration is out of range, `dir` holds anything but this complete dataset, or a file
/// cannot be written.
pub fn draw_dataset(dir: &Path, config: &DrawnConfig) -> Result<DrawnDataset, DrawnError> {
    config.check()?;
    let wanted = Manifest { schema: SCHEMA, config: config.clone() };
    let dataset = |reused| DrawnDataset { root: dir.to_owned(), images: config.images(), reused };
    if is_present(dir, &wanted)? {
        return Ok(dataset(true));
    }

    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(DrawnError::io(parent))?;
    let workshop = tempfile::Builder::new().prefix(".drawing-").tempdir_in(parent).map_err(DrawnError::io(parent))?;
    // The temporary folder is private to the user; folders made inside it have ordinary permissions.
    let draft = workshop.path().join("dataset");
    draw_all(&draft, config)?;
    let manifest = draft.join(MANIFEST);
    fs::write(&manifest, format!("{:#}\n", wanted.json())).map_err(DrawnError::io(&manifest))?;

    // Succeeds only on an empty folder, which some systems would not let a rename replace.
    let _ = fs::remove_dir(dir);
    match fs::rename(&draft, dir) {
        Ok(()) => Ok(dataset(false)),
        // Another process may have finished the same drawing in the meantime.
        Err(_) if is_present(dir, &wanted)? => Ok(dataset(true)),
        Err(source) => Err(DrawnError::Io { path: dir.to_owned(), source }),
    }
}

impl Manifest {
    fn json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

/// `true` if `dir` is this dataset, complete; `false` if it is missing or empty.
fn is_present(dir: &Path, wanted: &Manifest) -> Result<bool, DrawnError> {
    let occupied = || DrawnError::Occupied { dir: dir.to_owned() };
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(occupied()),
        Err(error) => return Err(DrawnError::io(dir)(error)),
        Ok(entries) => {
            if entries.take(1).count() == 0 {
                return Ok(false);
            }
        }
    }
    let text = fs::read(dir.join(MANIFEST)).map_err(|_| occupied())?;
    let found: Manifest = serde_json::from_slice(&text).map_err(|_| occupied())?;
    if found != *wanted {
        return Err(DrawnError::Different {
            dir: dir.to_owned(),
            found: found.json().to_string(),
            expected: wanted.json().to_string(),
        });
    }
    for (split, class) in folders(&wanted.config) {
        let name = format!("{}/{}", SPLITS[split], CLASSES[class].name);
        let expected = wanted.config.per_class(split);
        let intact =
            |&image: &usize| fs::metadata(dir.join(&name).join(file_name(image))).is_ok_and(|file| file.len() > 0);
        let found = (0..expected).filter(intact).count();
        if found != expected {
            return Err(DrawnError::Damaged { dir: dir.to_owned(), class: name, found, expected });
        }
    }
    Ok(true)
}

/// Indices of split and class of every folder of images.
fn folders(config: &DrawnConfig) -> impl Iterator<Item = (usize, usize)> {
    let classes = config.classes;
    (0..SPLITS.len()).flat_map(move |split| (0..classes).map(move |class| (split, class)))
}

fn file_name(image: usize) -> String {
    format!("{image:05}.JPEG")
}

fn draw_all(root: &Path, config: &DrawnConfig) -> Result<(), DrawnError> {
    let mut jobs = Vec::with_capacity(config.images());
    for (split, class) in folders(config) {
        let folder = root.join(SPLITS[split]).join(CLASSES[class].name);
        fs::create_dir_all(&folder).map_err(DrawnError::io(&folder))?;
        let images = 0..config.per_class(split);
        jobs.extend(images.map(|image| (split, class, image, folder.join(file_name(image)))));
    }
    jobs.into_par_iter().try_for_each(|(split, class, image, path)| {
        let bytes = draw_image(config, split, class, image)
            .map_err(|source| DrawnError::Encode { path: path.clone(), source })?;
        fs::write(&path, bytes).map_err(DrawnError::io(&path))
    })
}

/// The JPEG file of one image.
fn draw_image(config: &DrawnConfig, split: usize, class: usize, image: usize) -> image::ImageResult<Vec<u8>> {
    let mut rng = from_words([config.seed, split as u64, class as u64, image as u64]);
    let scene = Scene::random(CLASSES[class].shape, &CLASSES[class].texture, &mut rng);
    let picture = scene.render(config.size, &mut rng);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, scene.quality()).encode_image(&picture)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_does_not_depend_on_the_size_of_the_dataset() {
        let small = DrawnConfig { classes: 4, train_per_class: 1, ..DrawnConfig::default() };
        let large = DrawnConfig::default();
        assert_eq!(draw_image(&small, 0, 3, 0).unwrap(), draw_image(&large, 0, 3, 0).unwrap());
    }
}
