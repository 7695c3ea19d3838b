//! MNIST, black and white.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use thiserror::Error;

/// Values of an image: 28 × 28.
pub const PIXELS: usize = 28 * 28;

/// Smallest grey value that becomes white. The paper says that its input is binary, not how.
const WHITE: u8 = 128;

/// Largest number of items in a file of MNIST; a header that states more is rejected.
const MOST_ITEMS: usize = 60_000;

/// Failure to get the data.
#[derive(Debug, Error)]
pub enum MnistError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file is missing.
    #[error("{} holds neither {name} nor {name}.gz", .folder.display())]
    Missing {
        /// Folder searched.
        folder: PathBuf,
        /// Its name.
        name: &'static str,
    },
    /// A file is not what its name says.
    #[error("{}: {what}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Problem with the file.
        what: String,
    },
    /// There is no data, and no way to get it.
    #[cfg_attr(feature = "mnist-download", allow(dead_code))]
    #[error("no data: give --data DIR, or build with --features mnist-download")]
    NoSource,
    /// It could not be downloaded.
    #[cfg_attr(not(feature = "mnist-download"), allow(dead_code))]
    #[error("cannot download MNIST; give the four files' folder as --data DIR")]
    Download,
}

/// Images, each [`PIXELS`] values of 0 or 1, and their digits.
pub struct Images {
    pub pixels: Vec<u8>,
    pub digits: Vec<u8>,
}

/// Both parts.
pub struct Mnist {
    pub train: Images,
    pub test: Images,
}

impl Mnist {
    /// Reads the four idx files in `folder`.
    pub fn read(folder: &Path) -> Result<Self, MnistError> {
        let part = |images, digits| {
            let (pixels, images) = (idx(folder, images, 3)?, images);
            let digits = idx(folder, digits, 1)?;
            if digits.len() * PIXELS != pixels.len() || digits.iter().any(|digit| *digit > 9) {
                return Err(MnistError::Invalid {
                    path: folder.join(images),
                    what: "its images and their labels do not fit each other".to_owned(),
                });
            }
            let pixels = pixels.iter().map(|grey| u8::from(*grey >= WHITE)).collect();
            Ok(Images { pixels, digits })
        };
        Ok(Self {
            train: part("train-images-idx3-ubyte", "train-labels-idx1-ubyte")?,
            test: part("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")?,
        })
    }
}

/// The content of an idx file of bytes with `axes` axes, the last ones of length 28.
fn idx(folder: &Path, name: &'static str, axes: u8) -> Result<Vec<u8>, MnistError> {
    let (plain, packed) = (folder.join(name), folder.join(format!("{name}.gz")));
    let (path, is_packed) = match (plain.exists(), packed.exists()) {
        (true, _) => (plain, false),
        (false, true) => (packed, true),
        (false, false) => {
            let folder = folder.to_owned();
            return Err(MnistError::Missing { folder, name });
        }
    };
    let io = |source| MnistError::Io { path: path.clone(), source };
    let file = BufReader::new(File::open(&path).map_err(io)?);
    let mut reader: Box<dyn Read> = if is_packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut header = vec![0; 4 + 4 * usize::from(axes)];
    reader.read_exact(&mut header).map_err(io)?;
    let invalid = |what: String| MnistError::Invalid { path: path.clone(), what };
    if header[..4] != [0, 0, 8, axes] {
        return Err(invalid(format!("not an idx file of bytes with {axes} axes")));
    }
    let lengths = header[4..].chunks_exact(4);
    let lengths: Vec<usize> =
        lengths.map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))).collect();
    if lengths[0] == 0 || lengths[0] > MOST_ITEMS || lengths[1..].iter().any(|side| *side != 28) {
        return Err(invalid(format!("its shape {lengths:?} is not MNIST's")));
    }
    let mut content = vec![0; lengths.iter().product()];
    reader.read_exact(&mut content).map_err(io)?;
    Ok(content)
}

/// MNIST as burn-dataset downloads and keeps it.
#[cfg(feature = "mnist-download")]
pub fn download() -> Result<Mnist, MnistError> {
    use burn_dataset::Dataset as _;
    use burn_dataset::vision::MnistDataset;

    let part = |open: fn() -> MnistDataset| {
        // burn-dataset panics where it cannot download.
        let dataset = std::panic::catch_unwind(open).map_err(|_| MnistError::Download)?;
        let mut images = Images { pixels: Vec::new(), digits: Vec::new() };
        for index in 0..dataset.len() {
            let item = dataset.get(index).map_err(|_| MnistError::Download)?;
            let greys = item.image.iter().flatten();
            let white = f32::from(WHITE);
            images.pixels.extend(greys.map(|grey| u8::from(*grey >= white)));
            images.digits.push(item.label);
        }
        Ok(images)
    };
    Ok(Mnist { train: part(MnistDataset::train)?, test: part(MnistDataset::test)? })
}

/// MNIST cannot be downloaded in this build.
#[cfg(not(feature = "mnist-download"))]
pub fn download() -> Result<Mnist, MnistError> {
    Err(MnistError::NoSource)
}
