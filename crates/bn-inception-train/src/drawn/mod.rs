//! The embedded dataset: labelled pictures drawn from a seed, for training with no data at hand.
//!
//! Five silhouettes meet five textures in ten classes, such that each silhouette and each texture occurs in exactly two of
//! them: a network has to see both. Colour, pose, backdrop, clutter, light and camera are random and say nothing.
//! What is written is an ordinary ImageNet-layout tree of JPEG files, read like any other.
//!
//! ```no_run
//! use bn_inception_train::drawn::{DrawnConfig, draw_dataset};
//!
//! let dataset = draw_dataset("drawn".as_ref(), &DrawnConfig::default())?;
//! println!("{} images under {}", dataset.images, dataset.root.display());
//! # Ok::<(), bn_inception_train::drawn::DrawnError>(())
//! ```

mod camera;
mod colour;
mod error;
mod scene;
mod shapes;
mod texture;

pub use error::DrawnError;
use image::codecs::jpeg::JpegEncoder;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use scene::Scene;
use serde::{Deserialize, Serialize};
use shapes::Shape;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use texture::Texture;

/// Version of the drawing itself: raise it whenever the same configuration would give other pictures.
const SCHEMA: u32 = 1;
const MANIFEST: &str = "manifest.json";
const SPLITS: [&str; 2] = ["train", "val"];

struct Class {
    name: &'static str,
    shape: Shape,
    texture: Texture,
}

/// Sorted by name, so that a class's row is also its index in any folder-per-class reader.
const CLASSES: [Class; 10] = [
    Class {
        name: "brick-cross",
        shape: shapes::cross,
        texture: texture::BRICK,
    },
    Class {
        name: "brick-disc",
        shape: shapes::disc,
        texture: texture::BRICK,
    },
    Class {
        name: "checkered-heart",
        shape: shapes::heart,
        texture: texture::CHECKERED,
    },
    Class {
        name: "checkered-ring",
        shape: shapes::ring,
        texture: texture::CHECKERED,
    },
    Class {
        name: "dotted-ring",
        shape: shapes::ring,
        texture: texture::DOTTED,
    },
    Class {
        name: "dotted-star",
        shape: shapes::star,
        texture: texture::DOTTED,
    },
    Class {
        name: "striped-disc",
        shape: shapes::disc,
        texture: texture::STRIPED,
    },
    Class {
        name: "striped-star",
        shape: shapes::star,
        texture: texture::STRIPED,
    },
    Class {
        name: "swirled-cross",
        shape: shapes::cross,
        texture: texture::SWIRLED,
    },
    Class {
        name: "swirled-heart",
        shape: shapes::heart,
        texture: texture::SWIRLED,
    },
];

/// The labels of the drawn classes, in index order. They are the folder names.
pub fn class_names() -> Vec<&'static str> {
    CLASSES.iter().map(|class| class.name).collect()
}

/// What to draw. The same configuration gives the same bytes, whatever the number of threads; only another platform's
/// mathematical functions may differ in a last bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnConfig {
    /// How many of [`class_names`] to draw, from the first: 2 to 10.
    pub classes: usize,
    /// Training images per class, at least 1.
    pub train_per_class: usize,
    /// Validation images per class, at least 1.
    pub val_per_class: usize,
    /// Side of the square images, in pixels: 16 to 1024.
    pub size: u32,
    /// Image `i` of a class depends on this seed, the split, the class and `i`, and on no other image.
    pub seed: u64,
}

impl Default for DrawnConfig {
    /// Ten classes of 400 training and 50 validation images at 72 pixels: a few seconds of drawing, some 12 MB.
    fn default() -> Self {
        Self {
            classes: CLASSES.len(),
            train_per_class: 400,
            val_per_class: 50,
            size: 72,
            seed: 2015,
        }
    }
}

impl DrawnConfig {
    fn per_class(&self, split: usize) -> usize {
        [self.train_per_class, self.val_per_class][split]
    }

    fn images(&self) -> usize {
        self.classes * (self.train_per_class + self.val_per_class)
    }

    fn check(&self) -> Result<(), DrawnError> {
        let bounds = [
            ("classes", self.classes, 2, CLASSES.len()),
            ("train_per_class", self.train_per_class, 1, 100_000),
            ("val_per_class", self.val_per_class, 1, 100_000),
            ("size", self.size as usize, 16, 1024),
        ];
        match bounds
            .into_iter()
            .find(|&(_, found, least, most)| found < least || found > most)
        {
            Some((field, found, least, most)) => Err(DrawnError::OutOfRange {
                field,
                found,
                least,
                most,
            }),
            None => Ok(()),
        }
    }
}

/// A complete drawn dataset on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawnDataset {
    /// The folder that holds `train`, `val` and `manifest.json`.
    pub root: PathBuf,
    /// Image files in both splits together.
    pub images: usize,
    /// Whether the images were already there.
    pub reused: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    config: DrawnConfig,
}

/// Draws the dataset of `config` as `dir/{train,val}/CLASS/00000.JPEG`, unless it is there already.
///
/// The images are drawn in a hidden folder beside `dir`, which takes `dir`'s name once everything is complete: `dir`
/// never holds part of a dataset, even if the process is killed. Missing parent folders are made; an empty `dir` is
/// taken over. Drawing uses the current rayon thread pool.
///
/// # Errors
/// [`DrawnError`] for a configuration out of range, a `dir` that holds anything else than this dataset, complete, and
/// failures of the file system.
pub fn draw_dataset(dir: &Path, config: &DrawnConfig) -> Result<DrawnDataset, DrawnError> {
    config.check()?;
    let wanted = Manifest {
        schema: SCHEMA,
        config: config.clone(),
    };
    let dataset = |reused| DrawnDataset {
        root: dir.to_owned(),
        images: config.images(),
        reused,
    };
    if is_present(dir, &wanted)? {
        return Ok(dataset(true));
    }

    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(DrawnError::io(parent))?;
    let workshop = tempfile::Builder::new()
        .prefix(".drawing-")
        .tempdir_in(parent)
        .map_err(DrawnError::io(parent))?;
    // The temporary folder is private to the user; what is made inside it has ordinary permissions.
    let draft = workshop.path().join("dataset");
    draw_all(&draft, config)?;
    let manifest = draft.join(MANIFEST);
    fs::write(&manifest, format!("{:#}\n", wanted.json())).map_err(DrawnError::io(&manifest))?;

    // Succeeds only on an empty folder, which some systems would not let a rename replace.
    let _ = fs::remove_dir(dir);
    match fs::rename(&draft, dir) {
        Ok(()) => Ok(dataset(false)),
        // Someone else may have finished the same drawing in the meantime.
        Err(_) if is_present(dir, &wanted)? => Ok(dataset(true)),
        Err(source) => Err(DrawnError::Io {
            path: dir.to_owned(),
            source,
        }),
    }
}

impl Manifest {
    fn json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

/// Whether `dir` is this very dataset, complete (true), or free for it (false).
fn is_present(dir: &Path, wanted: &Manifest) -> Result<bool, DrawnError> {
    let occupied = || DrawnError::Occupied {
        dir: dir.to_owned(),
    };
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
        let intact = |&image: &usize| {
            fs::metadata(dir.join(&name).join(file_name(image))).is_ok_and(|file| file.len() > 0)
        };
        let found = (0..expected).filter(intact).count();
        if found != expected {
            return Err(DrawnError::Damaged {
                dir: dir.to_owned(),
                class: name,
                found,
                expected,
            });
        }
    }
    Ok(true)
}

/// Split and class of every folder of images.
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
    jobs.into_par_iter()
        .try_for_each(|(split, class, image, path)| {
            let bytes =
                draw_image(config, split, class, image).map_err(|source| DrawnError::Encode {
                    path: path.clone(),
                    source,
                })?;
            fs::write(&path, bytes).map_err(DrawnError::io(&path))
        })
}

/// The JPEG file of one image.
fn draw_image(
    config: &DrawnConfig,
    split: usize,
    class: usize,
    image: usize,
) -> image::ImageResult<Vec<u8>> {
    let mut seed = [0; 32];
    let parts = [config.seed, split as u64, class as u64, image as u64];
    for (bytes, part) in seed.chunks_exact_mut(8).zip(parts) {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(seed);
    let scene = Scene::random(CLASSES[class].shape, &CLASSES[class].texture, &mut rng);
    let picture = scene.render(config.size, &mut rng);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, scene.quality()).encode_image(&picture)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise of the dataset: neither the silhouette nor the texture alone names a class.
    #[test]
    fn every_shape_and_texture_occurs_twice() {
        let names = class_names();
        assert!(names.is_sorted());
        for part in 0..2 {
            for name in &names {
                let word = name.split('-').nth(part);
                let uses = names
                    .iter()
                    .filter(|other| other.split('-').nth(part) == word);
                assert_eq!(uses.count(), 2, "{name}");
            }
        }
    }

    #[test]
    fn an_image_does_not_depend_on_the_size_of_the_dataset() {
        let small = DrawnConfig {
            classes: 4,
            train_per_class: 1,
            ..DrawnConfig::default()
        };
        let large = DrawnConfig::default();
        assert_eq!(
            draw_image(&small, 0, 3, 0).unwrap(),
            draw_image(&large, 0, 3, 0).unwrap()
        );
    }
}
