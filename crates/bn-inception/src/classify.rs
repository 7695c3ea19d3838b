//! From images to named classes.

use burn::tensor::{Device, Tensor, TensorData, activation};
use image::RgbImage;
use serde::Serialize;

use crate::folded::{EngineOptions, FoldedModel};
use crate::import::Import;
use crate::preprocess::PreprocessError;
use crate::weights::{self, Metadata, Weights, WeightsError};

/// One class a network holds an image to belong to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Index of the class.
    pub class: usize,
    /// Name of the class.
    pub label: String,
    /// Softmax probability, 0 to 1.
    pub probability: f32,
}

/// A model together with what its weights say about images and classes.
///
/// ```no_run
/// use bn_inception::{ImageClassifier, burn::tensor::Device, decode};
///
/// let classifier = ImageClassifier::open("imagenette", &Device::flex())?;
/// let photo = decode::decode_file("church.jpg")?;
/// for prediction in classifier.predict(&photo, 3)? {
///     println!("{:5.1} %  {}", 100.0 * prediction.probability, prediction.label);
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
    /// Opens the weights called `weights`, downloaded if need be, or the file at that path, on `device`.
    ///
    /// # Errors
    /// [`WeightsError`] naming the file and what is wrong with it.
    pub fn open(weights: &str, device: &Device) -> Result<Self, WeightsError> {
        let (model, metadata) = weights::open_folded(weights, device, &EngineOptions::default())?;
        Ok(Self::new(model, metadata, device))
    }

    /// Opens a file of another project, whose network and pixels `import` describes, on `device`.
    ///
    /// ```no_run
    /// use bn_inception::import::Import;
    /// use bn_inception::{ImageClassifier, Preprocess, Preset, burn::tensor::Device};
    ///
    /// let import = Import::new(Preset::Caffe.config(), Preprocess::cadene());
    /// let classifier =
    ///     ImageClassifier::open_as("bn_inception-52deb4733.pth", &import, &Device::flex())?;
    /// # Ok::<(), bn_inception::weights::WeightsError>(())
    /// ```
    ///
    /// # Errors
    /// [`WeightsError`] naming the file and what is wrong with it.
    pub fn open_as(weights: &str, import: &Import, device: &Device) -> Result<Self, WeightsError> {
        let options = EngineOptions::default();
        let (model, metadata) = weights::open_folded_as(weights, import, device, &options)?;
        Ok(Self::new(model, metadata, device))
    }

    /// A classifier with weights that were found, on `device`.
    ///
    /// # Errors
    /// [`WeightsError`] if the tensors are not those of the configuration.
    pub fn of(weights: Weights, device: &Device) -> Result<Self, WeightsError> {
        let (model, metadata) = weights.folded(device, &EngineOptions::default())?;
        Ok(Self::new(model, metadata, device))
    }

    /// A classifier of a network on `device` and what its weights say.
    pub fn new(model: FoldedModel, metadata: Metadata, device: &Device) -> Self {
        Self {
            model,
            metadata,
            device: device.clone().inner(),
        }
    }

    /// The network, folded for inference.
    pub fn model(&self) -> &FoldedModel {
        &self.model
    }

    /// The device the network is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the weights say about themselves.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The `top` most probable classes of one image, most probable first.
    ///
    /// # Errors
    /// [`PreprocessError`] if the image has no pixels.
    pub fn predict(
        &self,
        image: &RgbImage,
        top: usize,
    ) -> Result<Vec<Prediction>, PreprocessError> {
        let logits = self.logits(std::slice::from_ref(image))?;
        Ok(self.rank(&logits[0], top))
    }

    /// Logits of a batch of images of any size, one vector of `classes` values per image.
    ///
    /// # Errors
    /// [`PreprocessError`] if an image has no pixels.
    pub fn logits(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, PreprocessError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let preprocess = &self.metadata.preprocess;
        let size = preprocess.size as usize;
        let mut pixels = vec![0.0; images.len() * 3 * size * size];
        for (image, pixels) in images.iter().zip(pixels.chunks_exact_mut(3 * size * size)) {
            preprocess.normalize_into(&preprocess.eval_image(image)?, pixels)?;
        }
        let data = TensorData::new(pixels, [images.len(), 3, size, size]);
        let logits = self
            .model
            .forward(Tensor::<4>::from_data(data, &self.device));
        let values: Vec<f32> = logits.into_data().convert::<f32>().iter().collect();
        let classes = self.metadata.config.classes;
        Ok(values.chunks_exact(classes).map(<[f32]>::to_vec).collect())
    }

    /// The `top` most probable classes for a vector of logits, most probable first; ties by class index.
    pub fn rank(&self, logits: &[f32], top: usize) -> Vec<Prediction> {
        let row = TensorData::new(logits.to_vec(), [1, logits.len()]);
        let row = Tensor::<2>::from_data(row, &self.device);
        let probabilities = activation::softmax(row, 1).into_data().convert::<f32>();
        let mut ranked: Vec<(usize, f32)> = probabilities.iter::<f32>().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let labels = &self.metadata.labels;
        let best = ranked.into_iter().take(top);
        best.map(|(class, probability)| Prediction {
            class,
            label: labels.get(class).cloned().unwrap_or_default(),
            probability,
        })
        .collect()
    }
}
