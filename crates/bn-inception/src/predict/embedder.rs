//! One network as a function from images to vectors.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;

use super::image_source::{ImageSource, PredictError};
use crate::device::{DeviceError, DeviceSpec};
use crate::end_points::UnknownEndPoint;
use crate::folded::{EngineOptions, FoldedModel};
use crate::pool::Pooling;
use crate::weights::{Metadata, Weights, WeightsError};
use bn_inception_data::{Input, PreprocessError, View};

/// Batch size of [`ImageEmbedder::embed`].
const BATCH: usize = 16;

/// Largest height and width of an input in pixels, that of prepared images.
const MAX_SIDE: usize = 4096;

/// A network without its classifier: images in, a vector for each out. Alike images have vectors in alike directions.
///
/// ```
/// use bn_inception::image::{Rgb, RgbImage};
/// use bn_inception::{ImageEmbedder, Pooling};
///
/// let images = [RgbImage::new(320, 240), RgbImage::from_pixel(200, 200, Rgb([90, 60, 30]))];
/// let embedder = ImageEmbedder::open("imagenette", Pooling::Average)?.normalised(true);
/// let vectors = embedder.embed(&images)?; // or of ["a.jpg", "b.png"]
/// assert_eq!((vectors.len(), vectors[0].len()), (2, embedder.dimension()));
/// let cosine: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
/// assert!(cosine < 0.999);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageEmbedder {
    model: FoldedModel,
    metadata: Metadata,
    device: Device,
    pooling: Pooling,
    end_point: String,
    dimension: usize,
    normalised: bool,
    view: View,
}

/// Failure to open or to use an [`ImageEmbedder`].
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The weights cannot be opened.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is no device to compute on.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An image cannot be read or prepared.
    #[error(transparent)]
    Image(#[from] PredictError),
    /// The network reads other inputs.
    #[error("an input of shape {found:?}, expected {channels} channels of {smallest} to {MAX_SIDE} pixels a side")]
    Input {
        /// Channels, height and width found.
        found: [usize; 3],
        /// Channels that the network reads.
        channels: usize,
        /// The smallest height and width that it accepts.
        smallest: usize,
    },
}

impl ImageEmbedder {
    /// Opens the weights called `weights`, or the file at that path, on the best device of this build, with the end point
    /// `5b` and the crops of evaluation.
    ///
    /// # Errors
    /// [`EmbedError`] if the weights cannot be opened or there is no device.
    pub fn open(weights: &str, pooling: Pooling) -> Result<Self, EmbedError> {
        let device = DeviceSpec::Auto.open()?.device;
        Ok(Self::from_weights(Weights::open(weights, None)?, pooling, &device)?)
    }

    /// An embedder with `weights`, which may come from another project, on `device`.
    ///
    /// # Errors
    /// [`WeightsError`] if the engine rejects the network.
    pub fn from_weights(weights: Weights, pooling: Pooling, device: &Device) -> Result<Self, WeightsError> {
        let (model, metadata) = weights.folded(device, &EngineOptions::default())?;
        let end_points = model.config().end_points();
        let end_point = end_points[end_points.len() - 1].to_owned();
        let dimension = model.config().pooled_end_point(&end_point).expect("every network has its end points");
        let device = device.clone().inner();
        Ok(Self { model, metadata, device, pooling, end_point, dimension, normalised: false, view: View::Crop })
    }

    /// The same with another end point: `stem`, `3a` … `5b`, or `classifier` for the outputs of the last layer, which in
    /// networks for retrieval is the embedding.
    ///
    /// # Errors
    /// [`UnknownEndPoint`] with the known names, if `end_point` is not one of them.
    pub fn with_end_point(mut self, end_point: &str) -> Result<Self, UnknownEndPoint> {
        self.dimension = self.model.config().pooled_end_point(end_point)?;
        end_point.clone_into(&mut self.end_point);
        Ok(self)
    }

    /// The same with vectors of length 1, or as they are. A vector of zeros stays one.
    #[must_use]
    pub fn normalised(mut self, normalised: bool) -> Self {
        self.normalised = normalised;
        self
    }

    /// The same with another part of each image.
    #[must_use]
    pub fn with_view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// Length of the vectors.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The network, its images and its classes.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The part of each image that the network sees.
    pub fn view(&self) -> View {
        self.view
    }

    /// A vector of [`Self::dimension`] values for each image, in order.
    ///
    /// # Errors
    /// [`EmbedError::Image`] for the first image that cannot be read, [`EmbedError::Input`] if the network reads other
    /// inputs than images.
    pub fn embed<'a, S: Into<ImageSource<'a>>>(
        &self,
        images: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors = Vec::new();
        let mut images = images.into_iter().map(|image| -> Result<Input, PredictError> {
            let image = image.into().decode()?;
            Ok(self.prepare(&image)?)
        });
        loop {
            let batch: Vec<Input> = images.by_ref().take(BATCH).collect::<Result<_, _>>()?;
            if batch.is_empty() {
                return Ok(vectors);
            }
            vectors.extend(self.embed_inputs(&batch)?);
        }
    }

    /// The network's input for an image. It is all the work besides the network's, and can be done in another thread.
    ///
    /// # Errors
    /// [`PreprocessError`] if the image cannot be prepared.
    pub fn prepare(&self, image: &RgbImage) -> Result<Input, PreprocessError> {
        Input::color(image, &self.metadata.preprocess, self.view)
    }

    /// A vector for each input, in order. Inputs of one size are one batch.
    ///
    /// # Errors
    /// [`EmbedError::Input`] if the network does not read an input of that shape.
    pub fn embed_inputs(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut batches = BTreeMap::<[usize; 3], Vec<usize>>::new();
        for (index, input) in inputs.iter().enumerate() {
            self.check(input.shape)?;
            batches.entry(input.shape).or_default().push(index);
        }
        let mut vectors = vec![Vec::new(); inputs.len()];
        for ([channels, height, width], indices) in batches {
            let mut values = Vec::with_capacity(indices.len() * channels * height * width);
            indices.iter().for_each(|index| values.extend_from_slice(&inputs[*index].values));
            let data = TensorData::new(values, [indices.len(), channels, height, width]);
            let batch = Tensor::<4>::from_data(data, &self.device);
            let output = self.model.embed(batch, &self.end_point, self.pooling);
            let output = output.expect("the end point was checked when it was set").into_data().convert::<f32>();
            let output: Vec<f32> = output.iter().collect();
            for (index, vector) in indices.into_iter().zip(output.chunks_exact(self.dimension)) {
                vectors[index] = if self.normalised { normalised(vector) } else { vector.to_vec() };
            }
        }
        Ok(vectors)
    }

    /// Checks that the network reads inputs of this shape: channels, height, width.
    ///
    /// # Errors
    /// [`EmbedError::Input`] if it does not.
    pub fn check(&self, found: [usize; 3]) -> Result<(), EmbedError> {
        let config = &self.metadata.config;
        let (channels, smallest) = (config.image_channels(), config.smallest_input());
        let fits = found[0] == channels && found[1..].iter().all(|side| (smallest..=MAX_SIDE).contains(side));
        if fits { Ok(()) } else { Err(EmbedError::Input { found, channels, smallest }) }
    }
}

impl From<PreprocessError> for EmbedError {
    fn from(error: PreprocessError) -> Self {
        Self::Image(error.into())
    }
}

/// `vector` divided by its length, unless that is 0.
pub(super) fn normalised(vector: &[f32]) -> Vec<f32> {
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    let scale = if squares > 0.0 { squares.sqrt().recip() } else { 0.0 };
    vector.iter().map(|value| (f64::from(*value) * scale) as f32).collect()
}
