//! PyTorch files, as `torch.save` writes them.
//!
//! Since 1.6 a zip archive `NAME/data.pkl`, `NAME/data/KEY` …, uncompressed; before that a sequence of pickles
//! (magic number, version, system, object, storage keys) followed by the storages. Source: `torch/serialization.py`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use zip::ZipArchive;

use crate::archive::Archive;
use crate::array::{Array, Budget, elements};
use crate::cursor::Cursor;
use crate::error::{Problem, shown};
use crate::format::Format;
use crate::limits::{MAX_INFLATION, MAX_MEMBERS, MAX_NAME, MAX_NESTING, MAX_RANK};
use crate::pickle::{Id, Object, Pickle, View};

/// Keys under which checkpoints keep the state dict, in the order in which they are preferred.
const NESTED: [&str; 6] = ["state_dict", "model_state_dict", "model_state", "model", "net", "network"];

/// First pickle of a legacy file, as bytes of a little-endian integer.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The version that follows it.
const LEGACY_VERSION: i64 = 1001;

/// Reads a zip archive. Members are looked up by name and never written anywhere, so their paths do not matter.
pub(crate) fn read_zip(bytes: &[u8]) -> Result<Archive, Problem> {
    let mut archive = ZipArchive::new(io::Cursor::new(bytes))
        .map_err(|error| Problem::malformed(format!("damaged or cut short: {}", shown(&error.to_string()))))?;
    Problem::limit("number of members", archive.len(), MAX_MEMBERS)?;
    let names: Vec<_> = archive.file_names().flatten().map(std::borrow::Cow::into_owned).collect();
    let member = |end: &str| {
        let mut prefixes = names.iter().filter_map(|name| name.strip_suffix(end));
        prefixes.find(|prefix| prefix.ends_with('/'))
    };
    if member("constants.pkl").is_some() {
        return Err(Problem::TorchScript);
    }
    let foreign = || Problem::malformed("a zip archive without `data.pkl`: not made by torch.save");
    let prefix = member("data.pkl").ok_or_else(foreign)?;
    let mut inflated = Inflated { file: bytes.len() as u64, left: bytes.len().saturating_mul(MAX_INFLATION) };
    if let Some(order) = inflated.member(&mut archive, &format!("{prefix}byteorder"))?
        && order != b"little"
    {
        return Err(Problem::malformed("written on a big-endian machine"));
    }
    let pickle = inflated.member(&mut archive, &format!("{prefix}data.pkl"))?.unwrap_or_default();
    let pickle = Pickle::run(&mut Cursor::new(&pickle))?;
    let mut tensors = Tensors::new(&pickle, bytes.len())?;
    for key in tensors.keys() {
        let storage = inflated.member(&mut archive, &format!("{prefix}data/{key}"))?;
        let missing = || Problem::malformed(format!("the archive has no storage `{}`", shown(&key)));
        tensors.fill(&key, &storage.ok_or_else(missing)?)?;
    }
    Ok(Archive::of_tensors(Format::PyTorchZip, tensors.filled))
}

/// Decompression of an archive's members, limited in all to [`MAX_INFLATION`] times the size of the file.
struct Inflated {
    /// Size of the file in bytes.
    file: u64,
    /// Bytes that further members may have.
    left: usize,
}

impl Inflated {
    fn member(&mut self, archive: &mut ZipArchive<io::Cursor<&[u8]>>, name: &str) -> Result<Option<Vec<u8>>, Problem> {
        let Some(index) = archive.index_for_name(name) else {
            return Ok(None);
        };
        let broken = |reason: String| Problem::malformed(format!("member `{}`: {}", shown(name), shown(&reason)));
        let member = archive.by_index(index).map_err(|error| broken(error.to_string()))?;
        // The size in the directory may be wrong; the limit is on the bytes read. torch does not compress, and a member
        // that is not compressed cannot be larger than the file.
        let expected = member.size().min(member.compressed_size()).min(self.file);
        let mut bytes = Vec::with_capacity(expected as usize);
        let mut limited = member.take(self.left as u64 + 1);
        limited.read_to_end(&mut bytes).map_err(|error| broken(error.to_string()))?;
        match self.left.checked_sub(bytes.len()) {
            Some(left) => self.left = left,
            None => {
                return Err(broken(format!("the archive unpacks to more than {MAX_INFLATION} times its size")));
            }
        }
        Ok(Some(bytes))
    }
}

/// Reads a sequence of pickles.
pub(crate) fn read_legacy(bytes: &[u8]) -> Result<Archive, Problem> {
    let mut cursor = Cursor::new(bytes);
    // The magic number does not fit the integers of `Pickle`, so it is compared as bytes.
    let found = bytes.windows(LEGACY_MAGIC.len()).take(8).any(|window| window == LEGACY_MAGIC);
    Pickle::run(&mut cursor)?;
    if !found {
        return Err(Problem::malformed("a pickle that was not written by torch.save"));
    }
    let version = Pickle::run(&mut cursor)?;
    match version.get(version.root) {
        Object::Integer(LEGACY_VERSION) => {}
        other => {
            return Err(Problem::malformed(format!("version {other:?}, expected {LEGACY_VERSION}")));
        }
    }
    Pickle::run(&mut cursor)?;
    let pickle = Pickle::run(&mut cursor)?;
    let keys = Pickle::run(&mut cursor)?;
    let mut tensors = Tensors::new(&pickle, bytes.len())?;
    // Storages of all tensors follow, not only of those in the state dict.
    let sizes: BTreeMap<_, _> = pickle.storages().map(|storage| (storage.key, storage.element.size())).collect();
    let Object::Sequence(list) = keys.get(keys.root) else {
        return Err(Problem::malformed("the list of storages is no list"));
    };
    for key in list {
        let Object::Text(key) = keys.get(*key) else {
            return Err(Problem::malformed("a storage's key is no text"));
        };
        let length = cursor.u64("the length of a storage")?;
        let size = sizes.get(key).copied().unwrap_or(1);
        let data = cursor.take("a storage", length.saturating_mul(size as u64))?;
        tensors.fill(key, data)?;
    }
    tensors.finish()?;
    Ok(Archive::of_tensors(Format::PyTorchLegacy, tensors.filled))
}

/// Tensors of a state dict, with and without their values.
struct Tensors<'p> {
    /// Names and views of tensors without values, by the key of their storage.
    waiting: BTreeMap<&'p str, Vec<(&'p str, &'p View<'p>)>>,
    filled: BTreeMap<String, Array>,
}

impl<'p> Tensors<'p> {
    fn new(pickle: &'p Pickle<'p>, file: usize) -> Result<Self, Problem> {
        let dict = state_dict(pickle, pickle.root, 0)
            .ok_or_else(|| Problem::malformed("no state dict: no dictionary with tensors in it"))?;
        let mut waiting: BTreeMap<_, Vec<(_, &View<'_>)>> = BTreeMap::new();
        let mut budget = Budget::new(file);
        for (key, value) in entries(pickle, dict) {
            let Object::Tensor(view) = pickle.get(value) else {
                // An epoch, say, is of no interest; a dictionary of tensors would be lost.
                if has_tensors(pickle, value) {
                    let reason = format!("`{}` is a dictionary of tensors beside tensors: save it alone", shown(key));
                    return Err(Problem::malformed(reason));
                }
                continue;
            };
            Problem::limit("length of a name", key.len(), MAX_NAME)?;
            budget.admit(key, &view.shape)?;
            check(key, view)?;
            waiting.entry(view.storage.key).or_default().push((key, &**view));
        }
        let filled = BTreeMap::new();
        Ok(Self { waiting, filled })
    }

    fn keys(&self) -> Vec<String> {
        self.waiting.keys().map(|key| (*key).to_owned()).collect()
    }

    /// Fills all tensors in the storage called `key`.
    fn fill(&mut self, key: &str, storage: &[u8]) -> Result<(), Problem> {
        for (name, view) in self.waiting.remove(key).unwrap_or_default() {
            let size = view.storage.element.size();
            let start = view.storage.start.saturating_mul(size);
            let end = start.saturating_add(view.storage.length.saturating_mul(size));
            let part = storage.get(start..end).ok_or_else(|| {
                let (needed, found) = (end, storage.len());
                Problem::tensor(name, format!("its storage has {found} bytes, {needed} are needed"))
            })?;
            let array = Array::new(view.shape.clone(), values(view, part));
            if self.filled.insert(name.to_owned(), array).is_some() {
                return Err(Problem::tensor(name, "occurs twice"));
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Problem> {
        match self.waiting.first_key_value() {
            None => Ok(()),
            Some((key, _)) => {
                let reason = format!("the file has no storage `{}`", shown(key));
                Err(Problem::malformed(reason))
            }
        }
    }
}

/// Dictionary that holds the tensors: one nested in `id` under a name of [`NESTED`], or `id` itself. The nested ones
/// come first: beside them stand the state of the optimizer, and accuracies, which may be tensors too.
fn state_dict<'p>(pickle: &'p Pickle<'p>, id: Id, depth: usize) -> Option<Id> {
    let nested = NESTED.iter().filter(|_| depth < MAX_NESTING).find_map(|name| {
        let (_, value) = entries(pickle, id).find(|(key, _)| key == name)?;
        state_dict(pickle, value, depth + 1)
    });
    nested.or_else(|| has_tensors(pickle, id).then_some(id))
}

/// True if `id` is a dictionary with tensors in it.
fn has_tensors(pickle: &Pickle<'_>, id: Id) -> bool {
    let mut items = entries(pickle, id);
    items.any(|(_, value)| matches!(pickle.get(value), Object::Tensor(_)))
}

/// Entries of the dictionary `id` whose keys are text; none if it is no dictionary.
fn entries<'p>(pickle: &'p Pickle<'p>, id: Id) -> impl Iterator<Item = (&'p str, Id)> {
    let pairs = match pickle.get(id) {
        Object::Dict(pairs) => pairs.as_slice(),
        _ => &[],
    };
    pairs.iter().filter_map(|(key, value)| match pickle.get(*key) {
        Object::Text(key) => Some((*key, *value)),
        _ => None,
    })
}

/// An error if a view reaches out of its storage.
fn check(name: &str, view: &View<'_>) -> Result<(), Problem> {
    let View { storage, offset, shape, strides } = view;
    if shape.len() != strides.len() {
        let reason = format!("{} axes and {} strides", shape.len(), strides.len());
        return Err(Problem::tensor(name, reason));
    }
    if elements(name, shape)? == 0 {
        return Ok(());
    }
    let mut axes = shape.iter().zip(strides);
    let last = axes.try_fold(*offset, |last, (n, stride)| last.checked_add((n - 1).checked_mul(*stride)?));
    match last {
        Some(last) if last < storage.length => Ok(()),
        _ => {
            let length = storage.length;
            let reason =
                format!("shape {shape:?}, strides {strides:?} and offset {offset} reach out of a storage of {length}");
            Err(Problem::tensor(name, reason))
        }
    }
}

/// Values of a view that passed [`check`]; `storage` holds exactly the elements of its storage.
fn values(view: &View<'_>, storage: &[u8]) -> Vec<f32> {
    let View { shape, strides, offset, .. } = view;
    let element = view.storage.element;
    let size = element.size();
    let length: usize = shape.iter().product();
    let mut expected = 1;
    let dense = shape.iter().zip(strides).rev().all(|(n, stride)| {
        let fits = *n == 1 || *stride == expected;
        expected *= n;
        fits
    });
    if dense && length > 0 {
        return element.decode(&storage[offset * size..(offset + length) * size]);
    }
    let mut index = [0; MAX_RANK];
    let mut bytes = Vec::with_capacity(length * size);
    for _ in 0..length {
        let steps = index.iter().zip(strides).map(|(i, stride)| i * stride);
        let at = (offset + steps.sum::<usize>()) * size;
        bytes.extend_from_slice(&storage[at..at + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    element.decode(&bytes)
}
