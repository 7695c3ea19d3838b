//! The validation images that telemetry uses.

use bn_inception_data::ImageDataset;
use bn_inception_data::Preprocess;
use burn::tensor::{Device, Tensor};
use image::RgbImage;

/// Number of images the activations are measured on.
const IMAGES: usize = 8;

/// One image of the probe.
pub(crate) struct ProbeImage {
    /// Name of its file, below the folder of validation images.
    pub(crate) file: String,
    /// Index of its class.
    pub(crate) class: usize,
    /// Input of the network.
    pub(crate) image: RgbImage,
}

/// Validation images that stay the same over a run and all its resumes.
pub(crate) struct Probe {
    list: Vec<ProbeImage>,
    images: Option<Tensor<4>>,
}

impl Probe {
    /// No images, for a run without telemetry.
    pub(crate) fn none() -> Self {
        Self { list: Vec::new(), images: None }
    }

    /// Eight images spread evenly over `folder`, on `device`; fewer if the folder is smaller or some cannot be decoded.
    /// Those are not recorded here: the loader records them when it reaches them.
    pub(crate) fn new(folder: &ImageDataset, preprocess: &Preprocess, device: &Device) -> Self {
        let count = IMAGES.min(folder.len());
        let mut list = Vec::new();
        for place in 0..count {
            // The middle of each of `count` equal parts.
            let index = (2 * place + 1) * folder.len() / (2 * count);
            let Ok(decoded) = folder.decode(index) else {
                continue;
            };
            let Ok(image) = preprocess.eval_image(&decoded) else {
                continue;
            };
            list.push(ProbeImage { file: folder.name(index).into_owned(), class: folder.class(index), image });
        }
        let crops = list.iter().map(|probe| &probe.image);
        let images = if list.is_empty() { None } else { preprocess.batch(crops, device).ok() };
        Self { list, images }
    }

    /// The images, `[N, 3, size, size]`, normalised; `None` if there are none.
    pub(crate) fn images(&self) -> Option<&Tensor<4>> {
        self.images.as_ref()
    }

    /// The images one by one, in the order of the tensor.
    pub(crate) fn list(&self) -> &[ProbeImage] {
        &self.list
    }
}
