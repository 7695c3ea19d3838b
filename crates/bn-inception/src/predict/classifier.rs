//! One network as an image classifier.

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;

use super::image_source::{ImageSource, PredictError};
use super::prediction::{Prediction, rank, softmax};
use crate::folded::{EngineOptions, FoldedModel};
use crate::weights::{Metadata, Weights, WeightsError};
use bn_inception_data::PreprocessError;

/// Batch size of [`ImageClassifier::predict_batch`].
const BATCH: usize = 16;

/// A network with the preprocessing and the labels of its weights. [`Ensemble`](crate::Ensemble) combines several
/// models, and several crops of each image.
///
/// ```no_run
/// use bn_inception::{ImageClassifier, ImageSource, burn::tensor::Device};
///
/// let classifier = ImageClassifier::open("imagenette", &Device::flex())?;
/// // The three most probable classes of a file …
/// for prediction in classifier.predict("church.jpg", 3)? {
///     println!("{:5.1} %  {}", 100.0 * prediction.probability, prediction.label);
/// }
/// // … of an upload …
/// let bytes: Vec<u8> = std::fs::read("upload.png")?;
/// let best = classifier.predict(&bytes, 1)?;
/// // … of a camera's picture …
/// let (width, height, pixels) = (640, 480, vec![0; 3 * 640 * 480]);
/// let best = classifier.predict(ImageSource::Rgb { width, height, pixels: &pixels }, 1)?;
/// // … and of many files. One that is no image does not affect the others.
/// for answer in classifier.predict_batch(["a.jpg", "b.jpg", "c.txt"], 3) {
///     match answer {
///         Ok(best) => println!("{}", best[0].label),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageClassifier {
    model: FoldedModel,
    metadata: Metadata,
    device: Device,
}

impl ImageClassifier {
    /// Opens the weights called `weights`, downloading them if necessary, or the file at that path, on `device`.
    ///
    /// # Errors
    /// [`WeightsError`], which names the file and the problem.
    pub fn open(weights: &str, device: &Device) -> Result<Self, WeightsError> {
        Self::from_weights(Weights::open(weights, None)?, device)
    }

    /// A classifier with `weights` on `device`. The weights may come from another project:
    ///
    /// ```no_run
    /// use bn_inception::weights::{Import, Weights};
    /// use bn_inception::{ImageClassifier, Preprocess, Preset, burn::tensor::Device};
    ///
    /// let import = Import::new(Preset::Caffe.config(), Preprocess::cadene());
    /// let weights = Weights::open("bn_inception-52deb4733.pth", Some(&import))?;
    /// let classifier = ImageClassifier::from_weights(weights, &Device::flex())?;
    /// # Ok::<(), bn_inception::weights::WeightsError>(())
    /// ```
    ///
    /// # Errors
    /// [`WeightsError`] if the engine rejects the network.
    pub fn from_weights(weights: Weights, device: &Device) -> Result<Self, WeightsError> {
        let (model, metadata) = weights.folded(device, &EngineOptions::default())?;
        Ok(Self::new(model, metadata, device))
    }

    /// A classifier from a network on `device` and the metadata of its weights.
    pub fn new(model: FoldedModel, metadata: Metadata, device: &Device) -> Self {
        let device = device.clone().inner();
        Self { model, metadata, device }
    }

    /// The network, folded for inference.
    pub fn model(&self) -> &FoldedModel {
        &self.model
    }

    /// The device the network is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The network, its images and its classes.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The `top` most probable classes of one image, most probable first.
    ///
    /// # Errors
    /// [`PredictError`] if the image cannot be read or decoded.
    pub fn predict<'a>(&self, image: impl Into<ImageSource<'a>>, top: usize) -> Result<Vec<Prediction>, PredictError> {
        let image = image.into().decode()?;
        let logits = self.logits(std::slice::from_ref(image.as_ref()))?;
        Ok(self.rank(&logits[0], top))
    }

    /// [`Self::predict`] for many images, in batches of 16. Returns one result per image, in order; an image that
    /// cannot be read does not affect the others.
    pub fn predict_batch<'a, S: Into<ImageSource<'a>>>(
        &self,
        images: impl IntoIterator<Item = S>,
        top: usize,
    ) -> Vec<Result<Vec<Prediction>, PredictError>> {
        let mut answers = Vec::new();
        let mut images = images.into_iter().map(|image| self.prepare(image));
        loop {
            let batch: Vec<_> = images.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return answers;
            }
            let good: Vec<&RgbImage> = batch.iter().flatten().collect();
            let logits = self.prepared_logits(&good);
            let mut logits = logits.map(IntoIterator::into_iter);
            answers.extend(batch.into_iter().map(|image| {
                image?;
                let logits = logits.as_mut().map_err(|error| error.clone())?;
                Ok(self.rank(&logits.next().unwrap_or_default(), top))
            }));
        }
    }

    /// Logits of a batch of images of any size, one vector of `classes` values per image.
    ///
    /// # Errors
    /// [`PreprocessError`] if an image has no pixels, or the network reads other inputs than images.
    pub fn logits(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, PreprocessError> {
        let preprocess = &self.metadata.preprocess;
        let squares = images.iter().map(|image| preprocess.eval_image(image));
        let squares = squares.collect::<Result<Vec<_>, _>>()?;
        self.prepared_logits(&squares.iter().collect::<Vec<_>>())
    }

    fn prepare<'a>(&self, image: impl Into<ImageSource<'a>>) -> Result<RgbImage, PredictError> {
        let image = image.into().decode()?;
        Ok(self.metadata.preprocess.eval_image(&image)?)
    }

    /// Logits of images that already have the preprocessing's `size` × `size` pixels.
    pub(crate) fn prepared_logits(&self, images: &[&RgbImage]) -> Result<Vec<Vec<f32>>, PreprocessError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let channels = self.metadata.config.image_channels();
        if channels != 3 {
            let (found, expected) = ("3".to_owned(), format!("{channels}, as the network reads"));
            return Err(PreprocessError::Field { field: "number of channels", found, expected });
        }
        let preprocess = &self.metadata.preprocess;
        let size = preprocess.size as usize;
        let mut pixels = vec![0.0; images.len() * 3 * size * size];
        for (image, pixels) in images.iter().zip(pixels.chunks_exact_mut(3 * size * size)) {
            preprocess.normalize_into(image, pixels)?;
        }
        let data = TensorData::new(pixels, [images.len(), 3, size, size]);
        let logits = self.model.forward(Tensor::<4>::from_data(data, &self.device));
        let values: Vec<f32> = logits.into_data().convert::<f32>().iter().collect();
        let classes = self.metadata.config.classes;
        Ok(values.chunks_exact(classes).map(<[f32]>::to_vec).collect())
    }

    /// Probabilities of the classes for a vector of logits: their softmax, at the weights'
    /// [temperature](Metadata::temperature).
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f64> {
        softmax(logits, self.metadata.temperature.unwrap_or(1.0))
    }

    /// The `top` most probable classes for a vector of logits, most probable first; ties by class index.
    pub fn rank(&self, logits: &[f32], top: usize) -> Vec<Prediction> {
        rank(&self.probabilities(logits), &self.metadata.labels, top)
    }
}
