//! Accuracy of finished weights over a folder of images.

use std::sync::Arc;
use std::time::Instant;

use bn_inception::{ImageClassifier, labels};
use serde::Serialize;

use crate::dataset::ImageFolder;
use crate::loader::{ImageLoader, LoaderError, LoaderOptions};
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
    /// Images per second, loading included.
    pub images_per_second: f64,
    /// Images that could not be decoded and were replaced by another of their class.
    pub broken_images: usize,
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

/// Runs every image of `folder` through `classifier` and calls `progress` with the number done after each batch.
///
/// # Errors
/// [`EvaluateError`] if a class folder is not among the weights' classes, or images cannot be loaded.
pub fn evaluate(
    classifier: &ImageClassifier,
    folder: ImageFolder,
    options: LoaderOptions,
    mut progress: impl FnMut(usize),
) -> Result<Evaluation, EvaluateError> {
    let metadata = classifier.metadata();
    let classes = class_indices(&metadata.labels, folder.classes())?;
    let preprocess = metadata.preprocess.clone();
    let device = classifier.device();
    let loader = ImageLoader::eval(Arc::new(folder), preprocess, options, device)?;
    let start = Instant::now();
    let mut batches = loader.iter_from(0, 0);
    let (mut images, mut top1, mut top5) = (0, 0, 0);
    while let Some(batch) = batches.next_batch() {
        let batch = batch?;
        let logits = classifier
            .model()
            .forward(batch.images)
            .into_data()
            .convert::<f32>();
        let logits: Vec<f32> = logits.iter().collect();
        let targets = batch.targets.into_data().convert::<i64>();
        let rows = logits.chunks_exact(metadata.labels.len());
        for (row, target) in rows.zip(targets.iter::<i64>()) {
            let rank = rank(row, classes[target as usize]);
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
        images_per_second: images as f64 / start.elapsed().as_secs_f64(),
        broken_images: loader.broken().count(),
    })
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
