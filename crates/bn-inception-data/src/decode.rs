//! Image files to 8-bit RGB.
//!
//! The first bytes determine the format, not the name: ImageNet itself holds a PNG called `.JPEG`. JPEG, PNG, WebP, GIF,
//! BMP and TIFF are read; of an animation the first picture. Grayscale, CMYK, 16 bits, transparency and EXIF
//! orientations all become upright RGB with eight bits per channel.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Largest width or height that is decoded, in pixels.
pub const MAX_SIDE: u32 = 32_768;
/// Largest width × height that is decoded; ImageNet's largest photograph has 61 million.
pub const MAX_PIXELS: u64 = 100_000_000;
/// Most memory that a decoder may allocate, in bytes: `MAX_PIXELS` of 16-bit RGBA.
const MAX_DECODER_BYTES: u64 = MAX_PIXELS * 8;

/// The formats that are decoded, with their names in messages.
const FORMATS: [(ImageFormat, &str); 6] = [
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::Png, "PNG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Tiff, "TIFF"),
];

/// Number of a file's first bytes that tell its format.
pub(crate) const START: usize = 18;

/// An image that could not be decoded. Names no path, because the bytes may come from anywhere.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file could not be opened or read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// The first bytes are those of no known format.
    #[error("not a JPEG, PNG, WebP, GIF, BMP or TIFF image (starts with {start:02x?})")]
    UnknownFormat {
        /// The first bytes, eight at most.
        start: Vec<u8>,
    },
    /// The file ends before the image does.
    #[error("the {format} image is cut short: its end marker is missing after {bytes} bytes")]
    Truncated {
        /// Name of the format.
        format: &'static str,
        /// Length of the file in bytes.
        bytes: usize,
    },
    /// The file is over [`MAX_FILE_BYTES`], or width × height over [`MAX_PIXELS`].
    #[error("too large: {found} (at most {limit})")]
    TooLarge {
        /// Size found.
        found: String,
        /// Largest size accepted.
        limit: String,
    },
    /// The decoder refused the data.
    #[error("broken {format} image: {source}")]
    Broken {
        /// Name of the format.
        format: &'static str,
        /// The decoder's error.
        source: image::ImageError,
    },
}

/// Decodes the image file at `path`.
///
/// # Errors
/// [`DecodeError`] if the file cannot be read or is larger than [`MAX_FILE_BYTES`], and as for [`decode`].
pub fn decode_file(path: impl AsRef<Path>) -> Result<RgbImage, DecodeError> {
    decode(&read_file(path.as_ref())?)
}

/// The bytes of the file at `path`, at most [`MAX_FILE_BYTES`].
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, DecodeError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > MAX_FILE_BYTES {
        return Err(file_too_large(length));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // A pipe or a growing file has no length to trust, so the read itself is bounded too.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(file_too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Decodes the bytes of an image file into upright RGB.
///
/// Grayscale is copied to the three channels, CMYK and YCCK are converted (Adobe's inverted inks included), 16 bits are
/// rounded to 8, transparency is dropped without compositing (as by Pillow's `convert("RGB")`), and the EXIF
/// orientation is applied.
///
/// # Errors
/// [`DecodeError`] unless the bytes are a complete image of at most [`MAX_SIDE`] pixels a side and [`MAX_PIXELS`] in
/// all.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let Some((format, name)) = format_of(bytes) else {
        let start = bytes[..bytes.len().min(8)].to_vec();
        return Err(DecodeError::UnknownFormat { start });
    };
    // The JPEG decoder fills what is missing with gray and calls it a success.
    if format == ImageFormat::Jpeg && !has_end_of_image(bytes) {
        let bytes = bytes.len();
        return Err(DecodeError::Truncated { format: name, bytes });
    }
    let broken = |source| DecodeError::Broken { format: name, source };

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DecodeError::TooLarge {
            found: format!("{width}x{height} pixels"),
            limit: format!("{MAX_PIXELS} pixels"),
        });
    }
    // Damaged EXIF is common in otherwise good photographs, which then count as upright.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// The format that begins with the bytes `start`, at least [`START`] of them if the file is as long, and its name.
pub(crate) fn format_of(start: &[u8]) -> Option<(ImageFormat, &'static str)> {
    /// Lengths of the second header of a BMP; its first two bytes are those of many a text.
    const BMP_HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];
    let guessed = image::guess_format(start).ok()?;
    if guessed == ImageFormat::Bmp {
        let header = start.get(14..START)?.try_into().ok()?;
        BMP_HEADERS.contains(&u32::from_le_bytes(header)).then_some(())?;
    }
    FORMATS.into_iter().find(|(format, _)| *format == guessed)
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits
}

pub(crate) fn file_too_large(length: u64) -> DecodeError {
    DecodeError::TooLarge { found: format!("{length} bytes"), limit: format!("{MAX_FILE_BYTES} bytes") }
}

/// `true` if a JPEG has its end-of-image marker (`FF D9`) after the start of its last scan.
///
/// Markers cannot occur inside entropy-coded data (there `FF` is followed by `00` or a restart marker), so a search
/// backwards from the end finds either the true end or the start of the last scan. It passes over bytes that some
/// cameras append after the end.
fn has_end_of_image(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;
    bytes
        .windows(2)
        .rev()
        .find_map(|pair| match pair {
            [0xff, END_OF_IMAGE] => Some(true),
            [0xff, START_OF_SCAN] => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}
