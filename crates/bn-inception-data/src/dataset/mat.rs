//! The table of ImageNet's classes in the development kit, a MATLAB file.
//!
//! Format: MathWorks, "MAT-File Format", level 5: a header of 128 bytes, then elements of type, length and data, of which
//! a matrix holds further ones. Little-endian files only, which the kit's is.

use std::collections::HashMap;
use std::io::Read as _;

use flate2::read::ZlibDecoder;

/// Types of elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const DOUBLE: u32 = 9;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;

/// Class of a matrix that is an array of structures.
const STRUCTURE: u32 = 2;

const HEADER: usize = 128;
/// Largest matrix that is decompressed; the kit's has 2 MB.
const MAX_BYTES: u64 = 64 << 20;

/// A MATLAB file without the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum MatError {
    #[error("not a little-endian MATLAB file of level 5")]
    Header,
    #[error("an element is cut short or of an unexpected type")]
    Element,
    #[error("a compressed matrix is damaged")]
    Compressed,
    #[error("it holds no table `synsets` with ILSVRC2012_ID and WNID")]
    NoTable,
}

/// WordNet id by class number, from the bytes of `meta.mat`.
pub(super) fn synsets(bytes: &[u8]) -> Result<HashMap<u32, String>, MatError> {
    let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or(MatError::Header)?;
    if !header.ends_with(b"IM") || !header.starts_with(b"MATLAB") {
        return Err(MatError::Header);
    }
    while !rest.is_empty() {
        let (kind, data) = element(&mut rest)?;
        let inner;
        let matrix = match kind {
            COMPRESSED => {
                inner = decompress(data)?;
                let mut inner = inner.as_slice();
                let (kind, data) = element(&mut inner)?;
                (kind == MATRIX).then_some(data)
            }
            MATRIX => Some(data),
            _ => None,
        };
        if let Some(table) = matrix.map(table).transpose()?.flatten() {
            return Ok(table);
        }
    }
    Err(MatError::NoTable)
}

fn decompress(data: &[u8]) -> Result<Vec<u8>, MatError> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(data).take(MAX_BYTES).read_to_end(&mut bytes).map_err(|_| MatError::Compressed)?;
    Ok(bytes)
}

/// The next element of `rest`: type and data.
fn element<'a>(rest: &mut &'a [u8]) -> Result<(u32, &'a [u8]), MatError> {
    let word = u32_at(rest, 0)?;
    // Up to four bytes may share a word with type and length.
    let (kind, start, length) = match word >> 16 {
        0 => (word, 8, u32_at(rest, 4)? as usize),
        length => (word & 0xffff, 4, length as usize),
    };
    if start == 4 && length > 4 {
        return Err(MatError::Element);
    }
    let end = start + length;
    let data = rest.get(start..end).ok_or(MatError::Element)?;
    let next = if kind == COMPRESSED { end } else { end.next_multiple_of(8) };
    *rest = rest.get(next..).unwrap_or_default();
    Ok((kind, data))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, MatError> {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(u32::from_le_bytes).ok_or(MatError::Element)
}

/// The table, if `matrix` is it.
fn table(mut matrix: &[u8]) -> Result<Option<HashMap<u32, String>>, MatError> {
    let matrix = &mut matrix;
    let flags = element(matrix)?.1;
    if u32_at(flags, 0)? & 0xff != STRUCTURE {
        return Ok(None);
    }
    let _dimensions = element(matrix)?;
    let name = element(matrix)?.1;
    if name != b"synsets" {
        return Ok(None);
    }
    let length = u32_at(element(matrix)?.1, 0)? as usize;
    let names = element(matrix)?.1;
    if length == 0 {
        return Err(MatError::Element);
    }
    let fields: Vec<_> = names.chunks(length).map(|name| name.split(|byte| *byte == 0).next()).collect();
    let place = |field: &[u8]| fields.iter().position(|name| *name == Some(field)).ok_or(MatError::NoTable);
    let (id, wnid) = (place(b"ILSVRC2012_ID")?, place(b"WNID")?);
    let mut table = HashMap::new();
    while !matrix.is_empty() {
        let (mut number, mut class) = (None, None);
        for field in 0..fields.len() {
            let (kind, data) = element(matrix)?;
            if kind != MATRIX {
                return Err(MatError::Element);
            }
            if field == id {
                number = Some(values(data)?);
            } else if field == wnid {
                class = Some(values(data)?);
            }
        }
        let number = number.and_then(|number| number.first().copied()).ok_or(MatError::Element)?;
        let class: Option<String> = class.into_iter().flatten().map(char::from_u32).collect();
        table.insert(number, class.ok_or(MatError::Element)?);
    }
    Ok(Some(table))
}

/// The elements of a matrix of whole numbers or of characters.
fn values(mut matrix: &[u8]) -> Result<Vec<u32>, MatError> {
    for _ in ["flags", "dimensions", "name"] {
        element(&mut matrix)?;
    }
    let (kind, data) = element(&mut matrix)?;
    let whole = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
    match kind {
        INT8 | UINT8 | UTF8 => Ok(data.iter().map(|byte| u32::from(*byte)).collect()),
        INT16 | UINT16 => Ok(data.chunks(2).map(whole).collect()),
        INT32 | UINT32 => Ok(data.chunks(4).map(whole).collect()),
        DOUBLE => {
            let values = data.chunks_exact(8).map(|bytes| bytes.try_into().map(f64::from_le_bytes));
            values.map(|value| value.map(|value| value as u32).map_err(|_| MatError::Element)).collect()
        }
        _ => Err(MatError::Element),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by SciPy; see `tests/fixtures/devkit/generate.py`.
    const FILES: [&[u8]; 2] = [
        include_bytes!("../../tests/fixtures/devkit/meta.mat"),
        include_bytes!("../../tests/fixtures/devkit/meta-plain.mat"),
    ];

    #[test]
    fn the_table_is_read_compressed_or_not() {
        for file in FILES {
            let table = synsets(file).unwrap();
            assert_eq!(table.len(), 5);
            for (number, class) in [(1, "class2"), (2, "class0"), (3, "class1"), (4, "n00000004"), (300, "n00000300")] {
                assert_eq!(table[&number], class);
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_another_table_and_never_a_panic() {
        for file in FILES {
            for at in 0..file.len() {
                let _ = synsets(&file[..at]);
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut damaged = file.to_vec();
                    damaged[at] = value;
                    let _ = synsets(&damaged);
                }
            }
            assert!(synsets(&file[..file.len() / 2]).is_err());
        }
        assert_eq!(synsets(b"PK").unwrap_err(), MatError::Header);
    }
}
