//! Classes of ImageNet's validation images, which their archive does not tell.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::error::DatasetError;
use super::kaggle::{SOLUTION, read_solution};
use super::mat;

/// Folder of the development kit, and its archive with `.tar.gz`.
const DEVKIT: &str = "ILSVRC2012_devkit_t12";
/// Class number of each validation image, one a line.
const GROUND_TRUTH: &str = "data/ILSVRC2012_validation_ground_truth.txt";
/// Table of the classes.
const META: &str = "data/meta.mat";
/// Class of each validation image, one a line.
const SYNSET_LABELS: &str = "imagenet_2012_validation_synset_labels.txt";
/// Largest file of the kit that is read; the real ones have 150 KB.
const MAX_BYTES: u64 = 64 << 20;

/// Where the classes of the validation images are.
pub(super) enum ValidationLabels {
    /// The development kit's folder.
    Folder(PathBuf),
    /// The development kit's archive.
    Archive(PathBuf),
    /// Kaggle's table.
    Solution(PathBuf),
    /// A list in the order of the images.
    List(PathBuf),
}

/// Class of each validation image.
pub(super) enum ClassOf {
    /// By the number in its name, from 1.
    Number(Vec<String>),
    /// By its name without ending.
    Name(HashMap<String, String>),
}

impl ValidationLabels {
    /// The first that `dir` holds.
    pub(super) fn find(dir: &Path) -> Result<Self, DatasetError> {
        let folder = dir.join(DEVKIT);
        let candidates = [
            (folder.join(GROUND_TRUTH), Self::Folder(folder)),
            (dir.join(GROUND_TRUTH), Self::Folder(dir.to_path_buf())),
            (dir.join(format!("{DEVKIT}.tar.gz")), Self::Archive(dir.join(format!("{DEVKIT}.tar.gz")))),
            (dir.join(SOLUTION), Self::Solution(dir.join(SOLUTION))),
            (dir.join(SYNSET_LABELS), Self::List(dir.join(SYNSET_LABELS))),
        ];
        let found = candidates.into_iter().find(|(file, _)| file.is_file());
        found.map(|(_, labels)| labels).ok_or_else(|| DatasetError::MissingFile {
            dir: dir.to_path_buf(),
            expected: format!(
                "the classes of the validation images: {DEVKIT}.tar.gz, its folder, {SOLUTION} or {SYNSET_LABELS}"
            ),
        })
    }

    /// The file or folder that messages name.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive(path) | Self::Solution(path) | Self::List(path) => path,
        }
    }

    /// The files that are read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Folder(path) => vec![path.join(GROUND_TRUTH), path.join(META)],
            Self::Archive(path) | Self::Solution(path) | Self::List(path) => vec![path.clone()],
        }
    }

    /// Reads them.
    pub(super) fn read(&self) -> Result<ClassOf, DatasetError> {
        match self {
            Self::Solution(path) => read_solution(path).map(ClassOf::Name),
            Self::List(path) => {
                let text = fs::read_to_string(path).map_err(DatasetError::io(path))?;
                Ok(ClassOf::Number(text.split_whitespace().map(str::to_owned).collect()))
            }
            Self::Folder(path) => {
                let read = |name: &str| fs::read(path.join(name)).map_err(DatasetError::io(path.join(name)));
                numbered(path, &read(GROUND_TRUTH)?, &read(META)?)
            }
            Self::Archive(path) => {
                let [ground_truth, meta] = read_kit(path)?;
                numbered(path, &ground_truth, &meta)
            }
        }
    }
}

impl ClassOf {
    /// Class of the validation image with this file name.
    ///
    /// # Errors
    /// The reason, if it has none.
    pub(super) fn class(&self, file_name: &str) -> Result<&str, String> {
        let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
        let class = match self {
            Self::Name(classes) => classes.get(stem),
            Self::Number(classes) => {
                let number: Option<usize> = stem.rsplit('_').next().and_then(|digits| digits.parse().ok());
                number.and_then(|number| classes.get(number.checked_sub(1)?))
            }
        };
        class.map(String::as_str).ok_or_else(|| "there is no class of this image".to_owned())
    }
}

/// The two files of the kit's archive.
fn read_kit(path: &Path) -> Result<[Vec<u8>; 2], DatasetError> {
    let wrong = |error: std::io::Error| DatasetError::Io { path: path.to_path_buf(), source: error };
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path).map_err(wrong)?));
    let mut found = [None, None];
    for entry in archive.entries().map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        for (file, content) in [GROUND_TRUTH, META].into_iter().zip(&mut found) {
            if name == file || name.ends_with(&format!("/{file}")) {
                let mut bytes = Vec::new();
                entry.take(MAX_BYTES).read_to_end(&mut bytes).map_err(wrong)?;
                *content = Some(bytes);
                break;
            }
        }
        if let [Some(_), Some(_)] = found {
            break;
        }
    }
    match found {
        [Some(ground_truth), Some(meta)] => Ok([ground_truth, meta]),
        _ => Err(DatasetError::labels(path, format!("expected {GROUND_TRUTH} and {META} in it"))),
    }
}

/// The class of each image, from the kit's two files.
fn numbered(kit: &Path, ground_truth: &[u8], meta: &[u8]) -> Result<ClassOf, DatasetError> {
    let wrong = |reason: String| DatasetError::labels(kit, reason);
    let names = mat::synsets(meta).map_err(|error| wrong(format!("{META}: {error}")))?;
    let text = String::from_utf8_lossy(ground_truth);
    let classes = text.split_whitespace().enumerate().map(|(line, number)| {
        let name = number.parse().ok().and_then(|number: u32| names.get(&number));
        name.cloned().ok_or_else(|| wrong(format!("{GROUND_TRUTH}, line {}: no class `{number}`", line + 1)))
    });
    Ok(ClassOf::Number(classes.collect::<Result<_, _>>()?))
}
