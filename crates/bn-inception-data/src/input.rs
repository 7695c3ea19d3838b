//! Inputs of networks: prepared images, stacks of images, and arrays.

use std::path::Path;

use image::RgbImage;

use crate::error::PreprocessError;
use crate::npy::{NpyArray, NpyError, read_npy};
use crate::preprocess::Preprocess;

/// The part of an image that enters a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum View {
    /// The centre square, as in evaluation ([`Preprocess::eval_image`]).
    #[default]
    Crop,
    /// All of it, which need not be square ([`Preprocess::whole_image`]).
    Whole,
}

impl View {
    /// This part of `image`, scaled.
    ///
    /// # Errors
    /// [`PreprocessError`] as of the function that prepares it.
    pub fn of(self, image: &RgbImage, preprocess: &Preprocess) -> Result<RgbImage, PreprocessError> {
        match self {
            Self::Crop => preprocess.eval_image(image),
            Self::Whole => preprocess.whole_image(image),
        }
    }
}

/// One example for a network, normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Channel by channel, row by row.
    pub values: Vec<f32>,
}

/// Files that make no example.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The array cannot be read.
    #[error(transparent)]
    Array(#[from] NpyError),
    /// The array has other than three dimensions, or four.
    #[error("an array of shape {found:?}, expected [C, H, W] or [N, C, H, W]")]
    Shape {
        /// Its shape.
        found: Vec<usize>,
    },
    /// The image cannot be prepared.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The parts of one example are of different sizes.
    #[error("a part of {found:?} pixels (height, width) beside one of {expected:?}")]
    Sizes {
        /// Height and width of the first part.
        expected: [usize; 2],
        /// Those of another.
        found: [usize; 2],
    },
}

impl Input {
    /// A colour image, `[3, H, W]`.
    ///
    /// # Errors
    /// [`PreprocessError`] if it cannot be prepared.
    pub fn color(image: &RgbImage, preprocess: &Preprocess, view: View) -> Result<Self, PreprocessError> {
        let image = view.of(image, preprocess)?;
        let [height, width] = [image.height() as usize, image.width() as usize];
        let mut values = vec![0.0; 3 * height * width];
        preprocess.normalize_into(&image, &mut values)?;
        Ok(Self { shape: [3, height, width], values })
    }

    /// The luminances of an image, `[1, H, W]`, normalised with the averages of the channels' means and deviations: a
    /// channel of optical flow ([`Preprocess::flow`]) or of a microscope.
    ///
    /// # Errors
    /// [`PreprocessError`] if it cannot be prepared.
    pub fn grey(image: &RgbImage, preprocess: &Preprocess, view: View) -> Result<Self, PreprocessError> {
        let image = view.of(image, preprocess)?;
        let shape = [1, image.height() as usize, image.width() as usize];
        Ok(Self { shape, values: preprocess.luminances(&image).collect() })
    }

    /// One example of several parts, in order: their channels, one after the other.
    ///
    /// # Errors
    /// [`InputError::Sizes`] if the parts differ in height or width, [`InputError::Shape`] if there are none.
    pub fn stack(parts: Vec<Self>) -> Result<Self, InputError> {
        let size = |part: &Self| [part.shape[1], part.shape[2]];
        let Some(first) = parts.first() else {
            return Err(InputError::Shape { found: Vec::new() });
        };
        let (expected, mut channels, mut values) = (size(first), 0, Vec::new());
        for part in parts {
            let found = size(&part);
            if found != expected {
                return Err(InputError::Sizes { expected, found });
            }
            channels += part.shape[0];
            values.extend(part.values);
        }
        let [height, width] = expected;
        Ok(Self { shape: [channels, height, width], values })
    }

    /// The examples in an array of NumPy, `[C, H, W]` or `[N, C, H, W]`. They enter the network as they are.
    ///
    /// # Errors
    /// [`InputError`] if the file is no such array of 32-bit floats.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>, InputError> {
        let NpyArray { shape, values } = read_npy(path)?;
        let (&[channels, height, width] | &[_, channels, height, width]) = shape.as_slice() else {
            return Err(InputError::Shape { found: shape });
        };
        let example = channels * height * width;
        if example == 0 {
            return Err(InputError::Shape { found: shape });
        }
        let shape = [channels, height, width];
        Ok(values.chunks_exact(example).map(|values| Self { shape, values: values.to_vec() }).collect())
    }
}
