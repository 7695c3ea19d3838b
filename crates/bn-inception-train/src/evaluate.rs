//! Accuracy of finished weights over a folder of images.

use std::path::Path;
use std::time::Instant;

use bn_inception::decode::decode_file;
use bn_inception::{Ensemble, Views, labels};
use serde::{Serialize, Serializer};

use crate::broken::{BrokenImage, BrokenImages};
use crate::dataset::ImageFolder;
use crate::epoch::decode_or_replace;
use crate::loader::{LoaderError, LoaderOptions, note_broken};
use crate::prefetch::{Prefetch, Work};
use crate::rank::rank;

/// What [`evaluate`] measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Fraction of images whose most probable class is theirs.
    pub top1: f64,
    /// Fraction of images whose class is among the five most probable.
    pub top5: f64,
    /// Images evaluated.
    pub images: usize,
    /// Crops looked at of each.
    pub crops: u32,
    /// Models whose probabilities were averaged.
    pub models: usize,
    /// Images per second, loading included.
    pub images_per_second: f64,
    /// Images that could not be decoded and were replaced by another of their class.
    #[serde(rename = "broken_images", serialize_with = "as_number")]
    pub broken: Vec<BrokenImage>,
}

/// How many there are; a program's warnings say which.
fn as_number<S: Serializer>(images: &[BrokenImage], serializer: S) -> Result<S::Ok, S::Error> {
    images.len().serialize(serializer)
}

/// Why an evaluation could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The weights know no such class.
    #[error(
        "class folder `{folder}` is not among the {classes} classes of the weights ({examples}, …)"
    )]
    UnknownClass {
        /// The folder's name.
        folder: String,
        /// How many classes the weights have.
        classes: usize,
        /// The first of them.
        examples: String,
    },
    /// The images could not be loaded.
    #[error(transparent)]
    Loader(#[from] LoaderError),
}

/// Index in the weights of each of the folder's classes. All 1000 ImageNet classes are told by their WordNet id,
/// because some names occur twice; otherwise the folder's name or the ImageNet name it stands for counts.
fn class_indices(known: &[String], folders: &[String]) -> Result<Vec<usize>, EvaluateError> {
    let imagenet = labels::imagenet();
    let index = |folder: &String| {
        if known.len() == imagenet.len() {
            let found = imagenet.iter().position(|(id, _)| id == folder);
            if found.is_some() {
                return found;
            }
        }
        let label = labels::of_folder(folder);
        known
            .iter()
            .position(|known| known == folder || known == label)
    };
    let indices = folders.iter().map(|folder| {
        index(folder).ok_or_else(|| EvaluateError::UnknownClass {
            folder: folder.clone(),
            classes: known.len(),
            examples: known.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        })
    });
    indices.collect()
}

/// Runs every image of `folder` through `ensemble` and calls `progress` with the number done after each batch.
///
/// `options.batch_size` views at a time go through a network, whatever image they are of; images are read a few ahead
/// of that and dropped after it. The seed is not used.
///
/// # Errors
/// [`EvaluateError`] if a class folder is not among the weights' classes, or images cannot be loaded.
pub fn evaluate(
    ensemble: &Ensemble,
    folder: ImageFolder,
    options: LoaderOptions,
    mut progress: impl FnMut(usize),
) -> Result<Evaluation, EvaluateError> {
    if options.batch_size == 0 {
        return Err(LoaderError::NoBatchSize.into());
    }
    let classes = class_indices(ensemble.labels(), folder.classes())?;
    let crops = ensemble.crops().count();
    let total = folder.len();
    let at_once = (options.batch_size / crops as usize).max(1);
    let work = ViewWork {
        folder,
        ensemble: ensemble.clone(),
        at_once,
        strict: options.strict,
    };
    let start = Instant::now();
    let batches = Prefetch::new(work, 0, total.div_ceil(at_once), options.workers)
        .map_err(LoaderError::Threads)?;
    let broken = BrokenImages::default();
    let (mut images, mut top1, mut top5) = (0, 0, 0);
    for batch in batches {
        let (mut views, mut targets) = (Vec::new(), Vec::new());
        for seen in batch.map_err(LoaderError::Panicked)? {
            let seen = seen?;
            note_broken(&broken, seen.broken, total)?;
            views.push(seen.views);
            targets.push(seen.class);
        }
        let probabilities = ensemble
            .probabilities(&views, options.batch_size)
            .map_err(LoaderError::Preprocess)?;
        for (row, target) in probabilities.iter().zip(targets) {
            let rank = rank(row, classes[target]);
            top1 += usize::from(rank < 1);
            top5 += usize::from(rank < 5);
            images += 1;
        }
        progress(images);
    }
    let fraction = |count: usize| count as f64 / images.max(1) as f64;
    Ok(Evaluation {
        top1: fraction(top1),
        top5: fraction(top5),
        images,
        crops,
        models: ensemble.members().len(),
        images_per_second: images as f64 / start.elapsed().as_secs_f64(),
        broken: broken.list(),
    })
}

/// Decodes a folder's images, in order and a few at a time, and makes their views.
struct ViewWork {
    folder: ImageFolder,
    ensemble: Ensemble,
    at_once: usize,
    strict: bool,
}

/// What the networks see of an image.
struct Seen {
    views: Views,
    class: usize,
    broken: Vec<(usize, BrokenImage)>,
}

impl Work for ViewWork {
    type Item = Result<Seen, LoaderError>;
    type Batch = Vec<Self::Item>;

    fn items(&self, batch: usize) -> usize {
        self.at_once.min(self.folder.len() - batch * self.at_once)
    }

    fn item(&self, batch: usize, place: usize) -> Self::Item {
        let index = batch * self.at_once + place;
        let decode = |path: &Path| decode_file(path);
        let (image, broken) = decode_or_replace(&self.folder, index, self.strict, decode)?;
        Ok(Seen {
            views: self.ensemble.views(&image)?,
            class: self.folder.class(index),
            broken,
        })
    }

    fn assemble(&self, _: usize, items: Vec<Self::Item>) -> Self::Batch {
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_folder_or_by_imagenet_name() {
        let strings = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let known = strings(&["tench", "church", "star"]);
        let found = class_indices(&known, &strings(&["n03028079", "star"]));
        assert_eq!(found.unwrap(), [1, 2]);
        let error = class_indices(&known, &strings(&["cat"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`cat`") && error.contains("tench"),
            "{error}"
        );
        let all: Vec<String> = labels::imagenet()
            .iter()
            .map(|(_, name)| (*name).to_owned())
            .collect();
        assert_eq!(
            class_indices(&all, &strings(&["n03126707"])).unwrap(),
            [517]
        );
    }
}
