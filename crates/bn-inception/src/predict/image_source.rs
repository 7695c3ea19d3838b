//! Images to classify, from any source.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use image::RgbImage;

use bn_inception_data::{self as data, DecodeError, PreprocessError};

/// An image to classify: a file, its bytes or pixels. Paths (`&str`, `&Path` and their owned kinds), the bytes of an
/// image file (`&[u8]`, `&Vec<u8>`) and an [`RgbImage`] convert into it.
#[derive(Debug, Clone, Copy)]
pub enum ImageSource<'a> {
    /// An image file: JPEG, PNG, WebP, GIF, BMP or TIFF.
    Path(&'a Path),
    /// The contents of an image file.
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

/// Failure to classify an image.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The file cannot be read or decoded.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: DecodeError,
    },
    /// The bytes cannot be decoded.
    #[error("{0}")]
    Bytes(#[from] DecodeError),
    /// The number of pixels does not match width and height.
    #[error("{width}x{height} RGB pixels are {expected} bytes, found {found}")]
    Pixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// 3 × width × height.
        expected: u64,
        /// Number of bytes.
        found: usize,
    },
    /// The image has no pixels.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
}

impl<'a> ImageSource<'a> {
    /// The decoded image, borrowed if it is one already.
    ///
    /// # Errors
    /// [`PredictError`] if the file does not exist, its content is not an image, or the number of pixels is wrong.
    pub fn decode(self) -> Result<Cow<'a, RgbImage>, PredictError> {
        match self {
            ImageSource::Image(image) => Ok(Cow::Borrowed(image)),
            ImageSource::Bytes(bytes) => Ok(Cow::Owned(data::decode(bytes)?)),
            ImageSource::Path(path) => {
                let image =
                    data::decode_file(path).map_err(|source| PredictError::File { path: path.to_owned(), source });
                Ok(Cow::Owned(image?))
            }
            ImageSource::Rgb { width, height, pixels } => {
                let expected = 3 * u64::from(width) * u64::from(height);
                let found = pixels.len();
                let fits = (found as u64 == expected).then(|| pixels.to_vec());
                let image = fits.and_then(|pixels| RgbImage::from_raw(width, height, pixels));
                let error = PredictError::Pixels { width, height, expected, found };
                image.map(Cow::Owned).ok_or(error)
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

impl<'a> From<&'a String> for ImageSource<'a> {
    fn from(path: &'a String) -> Self {
        Self::Path(Path::new(path))
    }
}
