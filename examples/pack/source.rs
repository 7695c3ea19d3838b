//! The dataset that is packed.

use std::ops::Range;
use std::path::Path;

use bn_inception_examples::Failure;
use bn_inception_train::data::{DatasetError, ImageDataset, Split};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::image::Image;
use crate::rows::{self, Rows};

/// The training or the validation images.
pub struct Part {
    /// Which of them.
    pub split: Split,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Images in the order of the shards.
    pub images: Vec<Image>,
    reader: Reader,
}

enum Reader {
    /// Images of a dataset, by index.
    Dataset { dataset: ImageDataset, order: Vec<usize> },
    /// Rows of Parquet files, in their order.
    Parquet(Rows),
}

/// The parts of the dataset at `path`.
///
/// # Errors
/// [`Failure`] naming the file and the problem.
pub fn open(path: &Path) -> Result<Vec<Part>, Failure> {
    let mut parts = Vec::new();
    for split in [Split::Train, Split::Val] {
        let files = rows::files(path, split)?;
        if !files.is_empty() {
            let (found, classes, images) = rows::open(files)?;
            parts.push(Part { split, classes, images, reader: Reader::Parquet(found) });
        }
    }
    let is_parquet = !parts.is_empty();
    let mut missing = Vec::new();
    for split in [Split::Train, Split::Val].into_iter().filter(|_| !is_parquet) {
        match ImageDataset::open_split(path, split) {
            Ok(dataset) => parts.push(Part::of(dataset, split)),
            Err(error) if is_missing(&error) => missing.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(error) = missing.pop() {
        if parts.is_empty() {
            return Err(error.into());
        }
        eprintln!("warning: {error}; the other part is packed alone");
    }
    if let [train, val] = parts.as_slice()
        && train.classes != val.classes
    {
        return Err(format!("{}: training and validation images have different classes", path.display()).into());
    }
    Ok(parts)
}

/// `true` if one part of a dataset is not there.
fn is_missing(error: &DatasetError) -> bool {
    matches!(error, DatasetError::NoSplit { .. } | DatasetError::MissingFile { .. } | DatasetError::NoImages { .. })
}

impl Part {
    /// The images of `dataset` in a random order, always the same one: each shard then has images of many classes.
    fn of(dataset: ImageDataset, split: Split) -> Self {
        let mut order: Vec<usize> = (0..dataset.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let image = |&index: &usize| Image { name: dataset.name(index).into_owned(), class: dataset.class(index) };
        let images = order.iter().map(image).collect();
        Self { split, classes: dataset.classes().to_vec(), images, reader: Reader::Dataset { dataset, order } }
    }

    /// The files of the images in `range`.
    ///
    /// # Errors
    /// [`Failure`] naming the first that cannot be read.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<Vec<u8>>, Failure> {
        match &self.reader {
            Reader::Parquet(rows) => rows.read(range),
            Reader::Dataset { dataset, order } => {
                let read = |&index: &usize| {
                    dataset.bytes(index).map_err(|error| format!("{}: {error}", dataset.path(index).display()).into())
                };
                order[range].iter().map(read).collect()
            }
        }
    }
}
