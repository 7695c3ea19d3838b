//! MXNet parameter files, as `mx.nd.save` writes them.
//!
//! A list of arrays and a list of names (`NDArray::Save` in `src/ndarray/ndarray.cc`), little-endian:
//! `0x112: u64`, `0: u64`, count and arrays, count and names. An array is, by its first word,
//! - version 2 (`0xF993FAC9`) or 3 (`0xF993FACA`): storage type (0, dense), then as version 1;
//! - version 1 (`0xF993FAC8`): rank as `u32`, dimensions as `i64`;
//! - anything else: that word is the rank itself, dimensions are `u32`;
//!
//! and then device type, device number, element type (each `i32`) and the numbers. An array of rank 0 (in version 3:
//! of rank -1) ends after its shape.

use std::collections::BTreeMap;

use crate::archive::Archive;
use crate::array::{Array, Budget, Element};
use crate::cursor::Cursor;
use crate::error::{Problem, shown};
use crate::format::Format;
use crate::limits::{MAX_NAME, MAX_RANK, MAX_TENSORS};

const VERSION_1: u32 = 0xF993_FAC8;
const VERSION_2: u32 = 0xF993_FAC9;
const VERSION_3: u32 = 0xF993_FACA;

/// `mshadow`'s type flags.
const ELEMENTS: [(i32, Element); 9] = [
    (0, Element::F32),
    (1, Element::F64),
    (2, Element::F16),
    (3, Element::U8),
    (4, Element::I32),
    (5, Element::I8),
    (6, Element::I64),
    (7, Element::Bool),
    (12, Element::BF16),
];

pub(crate) fn read(bytes: &[u8]) -> Result<Archive, Problem> {
    let mut cursor = Cursor::new(bytes);
    cursor.take("the header", 16)?;
    let count = count(&mut cursor, "the number of arrays")?;
    let mut budget = Budget::new(bytes.len());
    let mut arrays = Vec::new();
    for index in 0..count {
        arrays.push(array(&mut cursor, index, &mut budget)?);
    }
    let names = self::count(&mut cursor, "the number of names")?;
    if names != count {
        let reason = format!("{count} arrays with {names} names: saved without names");
        return Err(Problem::malformed(reason));
    }
    let mut tensors = BTreeMap::new();
    for array in arrays {
        let length = cursor.u64("the length of a name")?;
        Problem::limit("length of a name", usize::try_from(length).unwrap_or(usize::MAX), MAX_NAME)?;
        let name = std::str::from_utf8(cursor.take("a name", length)?);
        let name = name.map_err(|_| Problem::malformed("a name is no text"))?;
        let array = array.ok_or_else(|| Problem::tensor(name, "has no values"))?;
        if tensors.insert(name.to_owned(), array).is_some() {
            return Err(Problem::tensor(name, "occurs twice"));
        }
    }
    match cursor.left() {
        0 => Ok(Archive::of_tensors(Format::MxNet, tensors)),
        left => Err(Problem::malformed(format!("{left} bytes after the last name"))),
    }
}

fn count(cursor: &mut Cursor<'_>, what: &'static str) -> Result<usize, Problem> {
    let count = usize::try_from(cursor.u64(what)?).unwrap_or(usize::MAX);
    Problem::limit("number of tensors", count, MAX_TENSORS)?;
    Ok(count)
}

/// An array; `None` if it has neither shape nor values.
fn array(cursor: &mut Cursor<'_>, index: usize, budget: &mut Budget) -> Result<Option<Array>, Problem> {
    let name = format!("array {index}");
    let first = cursor.u32("an array")?;
    if matches!(first, VERSION_2 | VERSION_3) && cursor.i32("an array's storage type")? != 0 {
        return Err(Problem::tensor(&name, "is sparse"));
    }
    let versioned = matches!(first, VERSION_1 | VERSION_2 | VERSION_3);
    let rank = if versioned { cursor.u32("an array's rank")? } else { first };
    let unknown = if first == VERSION_3 { u32::MAX } else { 0 };
    if rank == unknown {
        return Ok(None);
    }
    Problem::limit("rank of an array", rank as usize, MAX_RANK)?;
    let mut shape = Vec::with_capacity(rank as usize);
    for _ in 0..rank {
        let dimension =
            if versioned { cursor.u64("an array's shape")? } else { cursor.u32("an array's shape")?.into() };
        shape.push(usize::try_from(dimension).unwrap_or(usize::MAX));
    }
    cursor.take("an array's device", 8)?;
    let flag = cursor.i32("an array's element type")?;
    let element = ELEMENTS.iter().find(|(known, _)| *known == flag);
    let unknown = || Problem::tensor(&name, format!("has element type {flag}, which is unknown"));
    let (_, element) = element.ok_or_else(unknown)?;
    let length = budget.admit(&shown(&name), &shape)?;
    let bytes = cursor.take("an array's values", (length as u64).saturating_mul(element.size() as u64))?;
    Ok(Some(Array::new(shape, element.decode(bytes))))
}
