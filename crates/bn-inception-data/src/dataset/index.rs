//! The index of a dataset's archives: what listing them found, kept in a file so that it happens once.
//!
//! The file holds [`MAGIC`], the SHA-256 of the rest, and the [`Record`] in postcard's format. It is a cache: one that is
//! damaged, or of other archives, is made anew.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use atomic_write_file::AtomicWriteFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::archive::{Archive, FileFacts};
use super::error::DatasetError;
use super::listing::{Listing, Place, Sample};
use super::split::Split;

/// First bytes of an index; the digit is the format's version.
const MAGIC: &[u8; 8] = b"BNINDEX1";

/// Length of a SHA-256.
const HASH: usize = 32;

/// Number of archives of a dataset that stay open: a system's usual limit is 1024 files, on macOS 256.
const KEPT_OPEN: usize = 128;

/// Names the cache folder; bn-inception-fetch keeps weights in the same one.
const HOME_VARIABLE: &str = "BN_INCEPTION_HOME";

/// An index that is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it does not start with {MAGIC:?}")]
    Magic,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it cannot be decoded: {0}")]
    Format(#[from] postcard::Error),
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    #[error("it is of other files, or they have changed")]
    Stale,
    #[error("entry {entry}: {reason}")]
    Entry { entry: usize, reason: &'static str },
}

/// Content of an index.
#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    /// The archives, then the files of labels.
    inputs: Vec<FileFacts>,
    classes: Vec<String>,
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
    left_out: Vec<PathBuf>,
}

/// One image.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<'a> {
    name: &'a str,
    class: u32,
    archive: u32,
    offset: u64,
    length: u64,
}

/// What listing archives finds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) classes: Vec<String>,
    pub(super) samples: Vec<Sample>,
    pub(super) left_out: Vec<PathBuf>,
}

/// Files that an index is of.
pub(super) struct Inputs<'a> {
    /// The folder of the dataset, or its only archive.
    pub(super) root: &'a Path,
    pub(super) archives: &'a [PathBuf],
    /// Files of labels and class names.
    pub(super) labels: &'a [PathBuf],
}

/// The listing of `inputs`, from their index if there is a valid one; otherwise by `list`, and the index is written
/// beside the data or, failing that, in the cache folder.
///
/// # Errors
/// [`DatasetError`] if a file is missing, and those of `list`.
pub(super) fn listing(
    inputs: &Inputs<'_>,
    split: Split,
    list: impl FnOnce(&[Archive]) -> Result<Found, DatasetError>,
) -> Result<Listing, DatasetError> {
    let Inputs { root, archives, labels } = inputs;
    let folder = if root.is_dir() { root } else { root.parent().unwrap_or(root) };
    let facts = archives.iter().chain(*labels).map(|path| {
        let name = path.strip_prefix(folder).unwrap_or(path);
        FileFacts::of(name.to_string_lossy().into_owned(), path).map_err(DatasetError::io(path))
    });
    let facts: Vec<FileFacts> = facts.collect::<Result<_, _>>()?;
    let opened = archives.iter().zip(&facts).enumerate();
    let archives: Vec<Archive> =
        opened.map(|(place, (path, facts))| Archive::new(path.clone(), facts.clone(), place < KEPT_OPEN)).collect();
    let places = places(root, folder, split);
    let known = places.iter().find_map(|place| read(place, &facts, archives.len()).ok());
    let found = match known {
        Some(found) => found,
        None => {
            let found = list(&archives)?;
            // Without an index the archives are listed again next time, which is no reason to stop.
            let _ = encode(&facts, &found).map(|bytes| places.iter().any(|place| write(place, &bytes).is_ok()));
            found
        }
    };
    let Found { classes, samples, left_out } = found;
    Ok(Listing { root: root.to_path_buf(), classes, samples, archives, left_out })
}

/// Where an index may be, the first choice first.
fn places(root: &Path, folder: &Path, split: Split) -> Vec<PathBuf> {
    let archive = if root == folder { None } else { root.file_name() };
    let stem = archive.map_or_else(|| "bn-inception".into(), |name| name.to_string_lossy());
    let mut places = vec![folder.join(format!("{stem}.{split}.index"))];
    let home = env::var_os(HOME_VARIABLE).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let home = home.or_else(|| Some(dirs::cache_dir()?.join("bn-inception")));
    if let (Some(home), Ok(root)) = (home, fs::canonicalize(root)) {
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        places.push(home.join("indexes").join(format!("{name}.{split}.index")));
    }
    places
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// An index file's bytes; `None` if an image is not in an archive or its name is no text.
fn encode(inputs: &[FileFacts], found: &Found) -> Option<Vec<u8>> {
    let entries = found.samples.iter().map(|sample| match sample.place {
        Place::Range { archive, offset, length } => {
            Some(Entry { name: sample.name.to_str()?, class: sample.class, archive, offset, length })
        }
        Place::Folder | Place::Flat => None,
    });
    let record = Record {
        inputs: inputs.to_vec(),
        classes: found.classes.clone(),
        entries: entries.collect::<Option<_>>()?,
        left_out: found.left_out.clone(),
    };
    let record = postcard::to_stdvec(&record).ok()?;
    Some([MAGIC.as_slice(), &Sha256::digest(&record), &record].concat())
}

fn read(path: &Path, inputs: &[FileFacts], archives: usize) -> Result<Found, IndexError> {
    decode(&fs::read(path)?, inputs, archives)
}

/// The content of an index file's `bytes`, if it is of `inputs`, the first of which are `archives`.
fn decode(bytes: &[u8], inputs: &[FileFacts], archives: usize) -> Result<Found, IndexError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(IndexError::Magic)?;
    let (hash, rest) = rest.split_at_checked(HASH).ok_or(IndexError::Checksum)?;
    if Sha256::digest(rest).as_slice() != hash {
        return Err(IndexError::Checksum);
    }
    decode_record(rest, inputs, archives)
}

fn decode_record(bytes: &[u8], inputs: &[FileFacts], archives: usize) -> Result<Found, IndexError> {
    let (record, rest): (Record<'_>, _) = postcard::take_from_bytes(bytes)?;
    if !rest.is_empty() {
        return Err(IndexError::Trailing(rest.len()));
    }
    if record.inputs != inputs {
        return Err(IndexError::Stale);
    }
    if record.entries.is_empty() {
        return Err(IndexError::Entry { entry: 0, reason: "there is none" });
    }
    let mut samples = Vec::with_capacity(record.entries.len());
    let mut last = 0;
    for (entry, Entry { name, class, archive, offset, length }) in record.entries.into_iter().enumerate() {
        let refused = |reason| IndexError::Entry { entry, reason };
        if class < last || class as usize >= record.classes.len() {
            return Err(refused("its class is out of order or unknown"));
        }
        let facts = inputs[..archives].get(archive as usize).ok_or_else(|| refused("its archive is unknown"))?;
        if offset.checked_add(length).is_none_or(|end| end > facts.bytes) {
            return Err(refused("its bytes lie outside the archive"));
        }
        last = class;
        let name = PathBuf::from(name).into_boxed_path();
        samples.push(Sample { name, class, place: Place::Range { archive, offset, length } });
    }
    Ok(Found { classes: record.classes, samples, left_out: record.left_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Vec<FileFacts>, Found) {
        let folder = tempfile::tempdir().unwrap();
        let inputs = ["a.tar", "b.tar", "labels.csv"].map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, vec![0; 4096]).unwrap();
            FileFacts::of(name.to_owned(), &path).unwrap()
        });
        let samples = (0..40_u32).map(|number| Sample {
            name: PathBuf::from(format!("class{}/{number:04}.jpg", number / 20)).into(),
            class: number / 20,
            place: Place::Range { archive: number % 2, offset: u64::from(number) * 100, length: 96 },
        });
        let found = Found {
            classes: vec!["class0".into(), "class1".into()],
            samples: samples.collect(),
            left_out: vec!["README".into()],
        };
        (inputs.to_vec(), found)
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let (inputs, found) = example();
        let bytes = encode(&inputs, &found).unwrap();
        let again = decode(&bytes, &inputs, 2).unwrap();
        assert_eq!((again.classes, again.samples, again.left_out), (found.classes, found.samples, found.left_out));
        let stale = decode(&bytes, &inputs[..2], 2).unwrap_err();
        assert!(matches!(stale, IndexError::Stale), "{stale}");
    }

    #[test]
    fn any_damage_is_noticed() {
        let (inputs, found) = example();
        let whole = encode(&inputs, &found).unwrap();
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], &inputs, 2).is_err(), "cut to {length}");
            let mut flipped = whole.clone();
            flipped[length] ^= 1 << (length % 8);
            assert!(decode(&flipped, &inputs, 2).is_err(), "bit of byte {length}");
        }
    }

    /// As if the checksum were right: whatever is accepted stays within the archives and classes.
    #[test]
    fn a_forged_index_reads_nothing_outside_the_archives() {
        let (inputs, found) = example();
        let whole = encode(&inputs, &found).unwrap().split_off(MAGIC.len() + HASH);
        let mut accepted = 0;
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut forged = whole.clone();
                forged[at] = value;
                let Ok(found) = decode_record(&forged, &inputs, 2) else { continue };
                accepted += 1;
                for sample in &found.samples {
                    let Place::Range { archive, offset, length } = sample.place else { panic!("a file") };
                    assert!(archive < 2 && offset + length <= 4096, "byte {at}: {sample:?}");
                    assert!((sample.class as usize) < found.classes.len(), "byte {at}: {sample:?}");
                }
                assert!(found.samples.is_sorted_by_key(|sample| sample.class), "byte {at}");
            }
        }
        assert!(accepted > 0, "names may change unnoticed here");
        let mut outside = found;
        outside.samples[3].place = Place::Range { archive: 1, offset: u64::MAX, length: 2 };
        let error = decode(&encode(&inputs, &outside).unwrap(), &inputs, 2).unwrap_err().to_string();
        assert_eq!(error, "entry 3: its bytes lie outside the archive");
    }
}
