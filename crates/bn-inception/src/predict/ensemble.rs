//! Several models and several crops as one classifier.

use std::collections::BTreeSet;

use burn::tensor::Device;
use image::RgbImage;

use super::classifier::ImageClassifier;
use super::image_source::{ImageSource, PredictError};
use super::prediction::{Prediction, rank};
use crate::state::{list, sentence};
use crate::weights::WeightsError;
use bn_inception_data::Crops;
use bn_inception_data::PreprocessError;

/// Batch size of [`Ensemble::predict`], in views.
const BATCH: usize = 16;

/// One or more models of the same classes, applied to one or more crops of an image. Its probabilities are the
/// arithmetic mean over crops and models, as in the paper (Figure 4 and the text below it).
///
/// Each model applies its own preprocessing.
///
/// ```no_run
/// use bn_inception::{Crops, Ensemble, burn::tensor::Device};
///
/// let both = Ensemble::open(&["a.safetensors", "b.safetensors"], &Device::flex(), Crops::Ten)?;
/// for prediction in both.predict("church.jpg", 3)? {
///     println!("{:5.1} %  {}", 100.0 * prediction.probability, prediction.label);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ensemble {
    members: Vec<Member>,
    crops: Crops,
}

#[derive(Debug, Clone)]
struct Member {
    classifier: ImageClassifier,
    /// The first member's class for each of this member's.
    classes: Vec<usize>,
}

/// Models that cannot form an [`Ensemble`].
#[derive(Debug, thiserror::Error)]
pub enum EnsembleError {
    /// There are no models.
    #[error("an ensemble needs at least one model")]
    Empty,
    /// One of them cannot be opened.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Two models have different classes.
    #[error(
        "model {member} of the ensemble has other classes than the first: {}",
        sentence([list("it lacks", &quoted(lacking)), list("only it has", &quoted(additional))])
    )]
    Classes {
        /// Position of the model, counted from 1.
        member: usize,
        /// Labels of the first model that this one lacks.
        lacking: Vec<String>,
        /// Labels of this model that the first one lacks.
        additional: Vec<String>,
    },
    /// Two models have their classes in different orders, and a label that occurs twice is ambiguous.
    #[error(
        "model {member} of the ensemble has its classes in another order than the first, and `{label}` is the name of several"
    )]
    Ambiguous {
        /// Position of the model, counted from 1.
        member: usize,
        /// The label.
        label: String,
    },
}

/// Quotes labels, which may contain commas and blanks.
fn quoted(labels: &[String]) -> Vec<String> {
    labels.iter().map(|label| format!("`{label}`")).collect()
}

/// The views of one image: for each member of an [`Ensemble`] the inputs of its network, with the number of times that
/// each counts.
#[derive(Debug, Clone)]
pub struct Views(Vec<Vec<(RgbImage, u32)>>);

impl Ensemble {
    /// An ensemble of `members`; the first determines the order of the classes.
    ///
    /// # Errors
    /// [`EnsembleError`] if there are no members, or two have different classes.
    pub fn new(members: Vec<ImageClassifier>, crops: Crops) -> Result<Self, EnsembleError> {
        let Some(first) = members.first() else {
            return Err(EnsembleError::Empty);
        };
        let labels = first.metadata().labels.clone();
        let members = members.into_iter().enumerate();
        let members = members.map(|(index, classifier)| {
            let own = &classifier.metadata().labels;
            let classes = places(&labels, own, index + 1)?;
            Ok(Member { classifier, classes })
        });
        Ok(Self { members: members.collect::<Result<_, EnsembleError>>()?, crops })
    }

    /// Opens each of `weights` as by [`ImageClassifier::open`].
    ///
    /// # Errors
    /// [`EnsembleError`] if one cannot be opened, there are none, or two have different classes.
    pub fn open<S: AsRef<str>>(weights: &[S], device: &Device, crops: Crops) -> Result<Self, EnsembleError> {
        let members = weights.iter().map(|name| ImageClassifier::open(name.as_ref(), device));
        Self::new(members.collect::<Result<_, _>>()?, crops)
    }

    /// Names of the classes, in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.members[0].classifier.metadata().labels
    }

    /// The models.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &ImageClassifier> {
        self.members.iter().map(|member| &member.classifier)
    }

    /// The crops taken of each image.
    pub fn crops(&self) -> Crops {
        self.crops
    }

    /// The `top` most probable classes of one image, most probable first.
    ///
    /// # Errors
    /// [`PredictError`] if the image cannot be read or decoded.
    pub fn predict<'a>(&self, image: impl Into<ImageSource<'a>>, top: usize) -> Result<Vec<Prediction>, PredictError> {
        let views = self.views(image.into().decode()?.as_ref())?;
        let probabilities = self.probabilities(&[views], BATCH)?;
        Ok(rank(&probabilities[0], self.labels(), top))
    }

    /// The networks' views of `image`. Preparing them is all the work besides the networks', and can be done in another
    /// thread.
    ///
    /// # Errors
    /// [`PreprocessError`] if the image has no pixels.
    pub fn views(&self, image: &RgbImage) -> Result<Views, PreprocessError> {
        let members = self.members();
        let views = members.map(|member| self.crops.render(image, &member.metadata().preprocess));
        Ok(Views(views.collect::<Result<_, _>>()?))
    }

    /// Class probabilities of each image, from its [`Self::views`], in batches of `batch` views.
    ///
    /// # Errors
    /// [`PreprocessError`] if the views come from another ensemble.
    pub fn probabilities(&self, images: &[Views], batch: usize) -> Result<Vec<Vec<f64>>, PreprocessError> {
        let mut sums = vec![vec![0.0; self.labels().len()]; images.len()];
        for (index, member) in self.members.iter().enumerate() {
            let mut views = Vec::new();
            for (image, Views(members)) in images.iter().enumerate() {
                let own = members.get(index).into_iter().flatten();
                views.extend(own.map(|(view, count)| (image, view, *count)));
            }
            for views in views.chunks(batch.max(1)) {
                let pixels: Vec<&RgbImage> = views.iter().map(|(_, view, _)| *view).collect();
                let logits = member.classifier.prepared_logits(&pixels)?;
                for ((image, _, count), logits) in views.iter().zip(logits) {
                    for (class, probability) in member.classes.iter().zip(member.classifier.probabilities(&logits)) {
                        sums[*image][*class] += f64::from(*count) * probability;
                    }
                }
            }
        }
        let terms = f64::from(self.crops.count()) * self.members.len() as f64;
        for sum in sums.iter_mut().flatten() {
            *sum /= terms;
        }
        Ok(sums)
    }
}

impl From<ImageClassifier> for Ensemble {
    /// One model with single crops.
    fn from(classifier: ImageClassifier) -> Self {
        let classes = (0..classifier.metadata().labels.len()).collect();
        Self { members: vec![Member { classifier, classes }], crops: Crops::Single }
    }
}

/// Position in `labels` of each of `own`, the labels of the ensemble's `member`-th model.
fn places(labels: &[String], own: &[String], member: usize) -> Result<Vec<usize>, EnsembleError> {
    // Names that occur twice (ImageNet has two cranes) do not matter if the order is the same.
    if labels == own {
        return Ok((0..own.len()).collect());
    }
    let (first, this): (BTreeSet<_>, BTreeSet<_>) = (labels.iter().collect(), own.iter().collect());
    let lacking: Vec<String> = first.difference(&this).map(|label| (*label).clone()).collect();
    let additional: Vec<String> = this.difference(&first).map(|label| (*label).clone()).collect();
    if !lacking.is_empty() || !additional.is_empty() {
        return Err(EnsembleError::Classes { member, lacking, additional });
    }
    let once = |labels: &[String], label: &String| {
        let mut places = labels.iter().enumerate().filter(|(_, known)| *known == label);
        match (places.next(), places.next()) {
            (Some((place, _)), None) => Some(place),
            _ => None,
        }
    };
    let place = |label: &String| match (once(labels, label), once(own, label)) {
        (Some(place), Some(_)) => Ok(place),
        _ => Err(EnsembleError::Ambiguous { member, label: label.clone() }),
    };
    own.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn classes_are_matched_by_name() {
        let first = strings(&["cat", "dog", "crane"]);
        let found = places(&first, &strings(&["crane", "cat", "dog"]), 2).unwrap();
        assert_eq!(found, [2, 0, 1]);
        let twice = strings(&["crane", "crane", "cat"]);
        assert_eq!(places(&twice, &twice, 2).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn differences_are_named() {
        let first = strings(&["cat", "dog", "crane"]);
        let table: [(&[&str], &str); 3] = [
            (&["cat", "dog"], "model 2 of the ensemble has other classes than the first: it lacks `crane`"),
            (
                &["cat", "a", "b", "c", "d", "e"],
                "model 2 of the ensemble has other classes than the first: it lacks `crane`, `dog`; only it has `a`, \
                 `b`, `c`, `d` and 1 more",
            ),
            (
                &["dog", "cat", "crane", "crane"],
                "model 2 of the ensemble has its classes in another order than the first, and `crane` is the name of \
                 several",
            ),
        ];
        for (own, expected) in table {
            let error = places(&first, &strings(own), 2).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
