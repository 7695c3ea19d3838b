//! From images to named classes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use serde::Serialize;

use crate::decode::{self, DecodeError};
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

/// An image to be classified, wherever it is. Most kinds turn into it by themselves: a path (`&str`, `&Path`), the
/// bytes of a JPEG or PNG file (`&[u8]`, `&Vec<u8>`), an [`RgbImage`].
#[derive(Debug, Clone, Copy)]
pub enum ImageSource<'a> {
    /// A JPEG or PNG file.
    Path(&'a Path),
    /// The contents of a JPEG or PNG file.
    Bytes(&'a [u8]),
    /// Pixels, row by row from the top, three bytes each: red, green, blue.
    Rgb {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// 3 × width × height bytes.
        pixels: &'a [u8],
    },
    /// A decoded image.
    Image(&'a RgbImage),
}

/// Why an image could not be classified.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The file cannot be read or decoded.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The bytes cannot be decoded.
    #[error("{0}")]
    Bytes(#[from] DecodeError),
    /// The pixels are not as many as width and height say.
    #[error("{width}x{height} RGB pixels are {expected} bytes, found {found}")]
    Pixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// 3 × width × height.
        expected: u64,
        /// Bytes there are.
        found: usize,
    },
    /// The image has no pixels.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
}

impl<'a> ImageSource<'a> {
    /// The decoded image; a copy where it was not decoded before.
    ///
    /// # Errors
    /// [`PredictError`] if there is no such file, its content is no image, or the pixels are too few or too many.
    pub fn decode(self) -> Result<Cow<'a, RgbImage>, PredictError> {
        match self {
            ImageSource::Image(image) => Ok(Cow::Borrowed(image)),
            ImageSource::Bytes(bytes) => Ok(Cow::Owned(decode::decode(bytes)?)),
            ImageSource::Path(path) => match decode::decode_file(path) {
                Ok(image) => Ok(Cow::Owned(image)),
                Err(source) => {
                    let path = path.to_owned();
                    Err(PredictError::File { path, source })
                }
            },
            ImageSource::Rgb {
                width,
                height,
                pixels,
            } => {
                let expected = 3 * u64::from(width) * u64::from(height);
                let image = match pixels.len() as u64 == expected {
                    true => RgbImage::from_raw(width, height, pixels.to_vec()),
                    false => None,
                };
                image.map(Cow::Owned).ok_or(PredictError::Pixels {
                    width,
                    height,
                    expected,
                    found: pixels.len(),
                })
            }
        }
    }
}

impl<'a> From<&'a RgbImage> for ImageSource<'a> {
    fn from(image: &'a RgbImage) -> Self {
        Self::Image(image)
    }
}

impl<'a> From<&'a [u8]> for ImageSource<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for ImageSource<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Path> for ImageSource<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a PathBuf> for ImageSource<'a> {
    fn from(path: &'a PathBuf) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a str> for ImageSource<'a> {
    fn from(path: &'a str) -> Self {
        Self::Path(Path::new(path))
    }
}

/// How many images [`ImageClassifier::predict_batch`] puts through the network at once.
const BATCH: usize = 16;

/// A model together with what its weights say about images and classes. For several models or several crops of each
/// image there is [`Ensemble`](crate::Ensemble).
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
/// // … and of many files; those that are no images do not cost the answers for the others.
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
    /// [`PredictError`] if it cannot be read or is no image.
    pub fn predict<'a>(
        &self,
        image: impl Into<ImageSource<'a>>,
        top: usize,
    ) -> Result<Vec<Prediction>, PredictError> {
        let image = image.into().decode()?;
        let logits = self.logits(std::slice::from_ref(image.as_ref()))?;
        Ok(self.rank(&logits[0], top))
    }

    /// [`Self::predict`] for many images, 16 at a time through the network: an answer for each, in their order.
    pub fn predict_batch<'a, S: Into<ImageSource<'a>>>(
        &self,
        images: impl IntoIterator<Item = S>,
        top: usize,
    ) -> Vec<Result<Vec<Prediction>, PredictError>> {
        let mut answers = Vec::new();
        let mut images = images.into_iter();
        loop {
            let batch: Vec<_> = images
                .by_ref()
                .take(BATCH)
                .map(|image| self.prepare(image))
                .collect();
            if batch.is_empty() {
                return answers;
            }
            let good: Vec<&RgbImage> = batch.iter().flatten().collect();
            match self.prepared_logits(&good) {
                Ok(logits) => {
                    let mut logits = logits.into_iter();
                    answers.extend(batch.into_iter().map(|image| {
                        image?;
                        Ok(self.rank(&logits.next().unwrap_or_default(), top))
                    }));
                }
                Err(error) => answers.extend(batch.into_iter().map(|image| {
                    image?;
                    Err(error.clone().into())
                })),
            }
        }
    }

    /// Logits of a batch of images of any size, one vector of `classes` values per image.
    ///
    /// # Errors
    /// [`PreprocessError`] if an image has no pixels.
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

    /// Logits of images that are `size` × `size` pixels of the preprocessing already.
    pub(crate) fn prepared_logits(
        &self,
        images: &[&RgbImage],
    ) -> Result<Vec<Vec<f32>>, PreprocessError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let preprocess = &self.metadata.preprocess;
        let size = preprocess.size as usize;
        let mut pixels = vec![0.0; images.len() * 3 * size * size];
        for (image, pixels) in images.iter().zip(pixels.chunks_exact_mut(3 * size * size)) {
            preprocess.normalize_into(image, pixels)?;
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
        rank(&softmax(logits), &self.metadata.labels, top)
    }
}

/// Probabilities for logits. In 64 bits classes far behind stay apart, where 32 would make them all 0.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits
        .iter()
        .map(|logit| (f64::from(*logit) - f64::from(largest)).exp());
    let powers: Vec<f64> = powers.collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The `top` most probable classes, most probable first; ties by class index.
pub(crate) fn rank(probabilities: &[f64], labels: &[String], top: usize) -> Vec<Prediction> {
    let mut ranked: Vec<(usize, f64)> = probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = ranked.into_iter().take(top);
    best.map(|(class, probability)| Prediction {
        class,
        label: labels.get(class).cloned().unwrap_or_default(),
        probability: probability as f32,
    })
    .collect()
}
