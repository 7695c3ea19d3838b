//! Accuracy of finished weights over a folder of images.

use std::time::Instant;

use bn_inception::{Ensemble, labels};
use bn_inception_data::{BrokenImage, ImageDataset, LoaderError, LoaderOptions, PreparedImages};
use serde::{Serialize, Serializer};

use crate::calibration::calibration_error;
use crate::rank::EvaluatedImage;

/// Result of [`evaluate`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Fraction of images whose class is ranked first.
    pub top1: f64,
    /// Fraction of images whose class is ranked among the first five.
    pub top5: f64,
    /// Expected calibration error, 0 to 1, as by [`calibration_error`].
    pub calibration_error: f64,
    /// Images evaluated.
    pub images: usize,
    /// Crops per image.
    pub crops: u32,
    /// Models whose probabilities were averaged.
    pub models: usize,
    /// Images per second, loading included.
    pub images_per_second: f64,
    /// Images that could not be decoded and were replaced by another of their class.
    #[serde(rename = "broken_images", serialize_with = "as_number")]
    pub broken: Vec<BrokenImage>,
    /// Files in the folder that are no images.
    pub left_out: usize,
    /// Each image's result, in the order of the folder.
    #[serde(skip)]
    pub each: Vec<EvaluatedImage>,
}

/// Only their number; programs name them in warnings.
fn as_number<S: Serializer>(images: &[BrokenImage], serializer: S) -> Result<S::Ok, S::Error> {
    images.len().serialize(serializer)
}

/// An evaluation that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A class folder is not among the weights' classes.
    #[error("class folder `{folder}` is not among the {classes} classes of the weights ({examples}, …)")]
    UnknownClass {
        /// The folder's name.
        folder: String,
        /// Number of classes of the weights.
        classes: usize,
        /// The first of them.
        examples: String,
    },
    /// The images could not be loaded.
    #[error(transparent)]
    Loader(#[from] LoaderError),
}

/// Index, among the weights' classes, of each of the folder's classes. All 1000 ImageNet classes are recognised by
/// their WordNet id, because some names occur twice; others by the folder's name or the ImageNet name that it stands
/// for. Folders that are all called by number, 0, 1, 2, … are the classes of those numbers.
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
        known.iter().position(|known| known == folder || known == label)
    };
    // Shards without names of classes have their numbers.
    let numbered = folders.iter().enumerate().all(|(number, folder)| *folder == number.to_string());
    let by_number = |number: usize| (numbered && number < known.len()).then_some(number);
    let indices = folders.iter().enumerate().map(|(number, folder)| {
        index(folder).or_else(|| by_number(number)).ok_or_else(|| EvaluateError::UnknownClass {
            folder: folder.clone(),
            classes: known.len(),
            examples: known.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        })
    });
    indices.collect()
}

/// Evaluates `ensemble` on every image of `folder`, and calls `batch` after each batch with its images and, for each of
/// them, the probabilities of all classes.
///
/// Views go through a network in batches of `options.batch_size`, across images; a few images are prefetched, and each
/// is dropped after its batch. The seed is not used.
///
/// # Errors
/// [`EvaluateError`] if a class folder is not among the weights' classes, or images cannot be loaded.
pub fn evaluate(
    ensemble: &Ensemble,
    folder: ImageDataset,
    options: LoaderOptions,
    mut batch: impl FnMut(&[EvaluatedImage], &[Vec<f64>]),
) -> Result<Evaluation, EvaluateError> {
    if options.batch_size == 0 {
        return Err(LoaderError::NoBatchSize.into());
    }
    let classes = class_indices(ensemble.labels(), folder.classes())?;
    let crops = ensemble.crops().count();
    let options_of_images = LoaderOptions { batch_size: (options.batch_size / crops as usize).max(1), ..options };
    let left_out = folder.left_out().len();
    let start = Instant::now();
    let members = ensemble.clone();
    let mut batches = PreparedImages::new(folder, options_of_images, move |image| members.views(image))?;
    let mut each = Vec::new();
    for views in &mut batches {
        let (views, targets): (Vec<_>, Vec<_>) = views?.into_iter().map(|image| (image.value, image.class)).unzip();
        let probabilities = ensemble.probabilities(&views, options.batch_size).map_err(LoaderError::Preprocess)?;
        let done = each.len();
        for (row, target) in probabilities.iter().zip(targets) {
            each.push(EvaluatedImage::of(classes[target], row));
        }
        batch(&each[done..], &probabilities);
    }
    let images = each.len();
    let fraction = |ranks| each.iter().filter(|image| image.rank < ranks).count() as f64 / images.max(1) as f64;
    Ok(Evaluation {
        top1: fraction(1),
        top5: fraction(5),
        calibration_error: calibration_error(&each),
        images,
        crops,
        models: ensemble.members().len(),
        images_per_second: images as f64 / start.elapsed().as_secs_f64(),
        broken: batches.broken().list(),
        left_out,
        each,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_folder_or_by_imagenet_name() {
        let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let known = strings(&["tench", "church", "star"]);
        let found = class_indices(&known, &strings(&["n03028079", "star"]));
        assert_eq!(found.unwrap(), [1, 2]);
        assert_eq!(class_indices(&known, &strings(&["0", "1"])).unwrap(), [0, 1]);
        assert!(class_indices(&known, &strings(&["0", "2"])).is_err());
        assert_eq!(class_indices(&strings(&["1", "0"]), &strings(&["0", "1"])).unwrap(), [1, 0]);
        let error = class_indices(&known, &strings(&["cat"])).unwrap_err().to_string();
        assert!(error.contains("`cat`") && error.contains("tench"), "{error}");
        let all: Vec<String> = labels::imagenet().iter().map(|(_, name)| (*name).to_owned()).collect();
        assert_eq!(class_indices(&all, &strings(&["n03126707"])).unwrap(), [517]);
    }
}
