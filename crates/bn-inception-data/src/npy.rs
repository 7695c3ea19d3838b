//! Arrays in NumPy's file format, `.npy`
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use npyz::{DType, NpyFile, NpyHeader, Order, TypeStr, WriteOptions, WriterBuilder as _};

/// First bytes of a file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is read, in bytes; that of an array of numbers has 118.
const MAX_HEADER: usize = 1024;

/// Most brackets that a header may open; that of an array of numbers has two.
const MAX_BRACKETS: usize = 8;

/// An array of 32-bit floats, the last dimension contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// As many values as the product of the shape.
    pub values: Vec<f32>,
}

/// An array that could not be read. Names no path.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// The file cannot be opened or read, or is no array of NumPy.
    #[error("cannot be read as .npy: {0}")]
    Io(#[from] io::Error),
    /// Its values are not 32-bit floats.
    #[error("an array of {found}, expected 32-bit floats (`array.astype(\"float32\")`)")]
    Type {
        /// NumPy's name of the type.
        found: String,
    },
    /// The file is shorter than its header says.
    #[error("an array cut short: {header} in a file of {bytes} bytes")]
    Length {
        /// The header.
        header: String,
        /// Length of the file.
        bytes: u64,
    },
}

/// Reads the array in the file at `path`, in either byte order and either order of dimensions.
///
/// # Errors
/// [`NpyError`] if it is not a whole array of 32-bit floats.
pub fn read_npy(path: impl AsRef<Path>) -> Result<NpyArray, NpyError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    read(BufReader::new(file), bytes)
}

/// Reads an array from a file of `bytes` bytes.
fn read(mut file: impl Read, bytes: u64) -> Result<NpyArray, NpyError> {
    let head = header(&mut file)?;
    let text = String::from_utf8_lossy(&head).trim().to_owned();
    let short = || NpyError::Length { header: text.get(10..).unwrap_or_default().trim().to_owned(), bytes };
    // npyz multiplies the lengths without a check, and allocates what they ask for.
    let numbers = text.split(|letter: char| !letter.is_ascii_digit()).filter(|number| !number.is_empty());
    let product = numbers.map(|number| number.parse::<u64>().ok().map(|number| number.max(1)));
    let product = product.reduce(|a, b| a?.checked_mul(b?));
    product.flatten().ok_or_else(short)?;
    let header = NpyHeader::from_reader(head.as_slice())?;
    let found = match header.dtype() {
        DType::Plain(kind) if is_float(&kind) => None,
        other => Some(other.descr()),
    };
    if let Some(found) = found {
        return Err(NpyError::Type { found });
    }
    let shape: Vec<usize> = header.shape().iter().map(|length| *length as usize).collect();
    let needed = shape.iter().product::<usize>() as u64 * 4;
    if needed + head.len() as u64 > bytes {
        return Err(short());
    }
    let array = NpyFile::with_header(header, file);
    let order = array.order();
    let values: Vec<f32> = array.into_vec()?;
    let values = match order {
        Order::C => values,
        Order::Fortran => last_contiguous(&values, &shape),
    };
    Ok(NpyArray { shape, values })
}

/// The first bytes of a file, through the end of its header.
fn header(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = vec![0; 10];
    file.read_exact(&mut head)?;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if !head.starts_with(MAGIC) {
        return Err(wrong("it does not begin as such a file does"));
    }
    if head[6] > 1 {
        head.resize(12, 0);
        file.read_exact(&mut head[10..])?;
    }
    let length = head[8..].iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length > MAX_HEADER {
        return Err(wrong(&format!("its header has {length} bytes, at most {MAX_HEADER} are read")));
    }
    let start = head.len();
    head.resize(start + length, 0);
    file.read_exact(&mut head[start..])?;
    // The parser of the header calls itself for each.
    if head.iter().filter(|byte| b"([{".contains(byte)).count() > MAX_BRACKETS {
        return Err(wrong("its header is not that of an array of numbers"));
    }
    Ok(head)
}

fn is_float(kind: &TypeStr) -> bool {
    matches!(kind.to_string().trim_start_matches(['<', '>', '=']), "f4")
}

/// `values`, whose first dimension is contiguous, with the last one contiguous.
fn last_contiguous(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for length in shape {
        strides.push(stride);
        stride *= length;
    }
    let position = |mut index: usize| {
        let mut place = 0;
        for (length, stride) in shape.iter().zip(&strides).rev() {
            place += index % length * stride;
            index /= length;
        }
        place
    };
    (0..values.len()).map(|index| values[position(index)]).collect()
}

/// Writes `values` as a little-endian array of `shape`.
///
/// # Errors
/// [`io::Error`] if writing fails, or there are not as many values as the product of the shape.
pub fn write_npy(file: impl Write, shape: &[usize], values: &[f32]) -> io::Result<()> {
    let kind: TypeStr = "<f4".parse().map_err(io::Error::other)?;
    let shape: Vec<u64> = shape.iter().map(|length| *length as u64).collect();
    let mut writer = WriteOptions::new().dtype(DType::Plain(kind)).shape(&shape).writer(file).begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a failed step is a failed test

    use super::*;

    fn written(shape: &[usize], values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_npy(&mut bytes, shape, values).unwrap();
        bytes
    }

    /// A file as NumPy writes it.
    fn file(kind: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        let header = format!("{header:<117}\n");
        let mut bytes = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
        bytes.extend(data);
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<NpyArray, NpyError> {
        read(bytes, bytes.len() as u64)
    }

    #[test]
    fn what_is_written_is_read() {
        let values: Vec<f32> = (0..24).map(|value| value as f32 / 3.0).collect();
        let bytes = written(&[2, 3, 4], &values);
        assert!(bytes.starts_with(MAGIC));
        assert_eq!(read_all(&bytes).unwrap(), NpyArray { shape: vec![2, 3, 4], values });
        assert_eq!(read_all(&written(&[0, 5], &[])).unwrap(), NpyArray { shape: vec![0, 5], values: Vec::new() });
    }

    #[test]
    fn both_orders_of_bytes_and_of_dimensions() {
        let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let little: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let big: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        assert_eq!(read_all(&file("<f4", "False", "(2, 3)", &little)).unwrap().values, values);
        assert_eq!(read_all(&file(">f4", "False", "(2, 3)", &big)).unwrap().values, values);
        let array = read_all(&file("<f4", "True", "(2, 3)", &little)).unwrap();
        assert_eq!((array.shape, array.values), (vec![2, 3], vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0]));
    }

    #[test]
    fn what_is_no_array_of_floats_is_an_error() {
        let error = |bytes: &[u8]| read_all(bytes).unwrap_err().to_string();
        assert!(error(b"no array").starts_with("cannot be read as .npy"));
        let doubles = error(&file("<f8", "False", "(1,)", &[0; 8]));
        assert!(doubles.contains("f8") && doubles.contains("astype"), "{doubles}");
        for shape in ["(2, 3)", "(99999999999, 99999999999)", "(4294967296, 4294967296)", "(0, 4294967296, 4294967296)"]
        {
            let short = error(&file("<f4", "False", shape, &[0; 20]));
            assert!(short.contains("cut short") && short.contains(shape), "{short}");
        }
        let nested = error(&file("<f4", "False", &"(".repeat(400), &[]));
        assert!(nested.contains("not that of an array of numbers"), "{nested}");
        let long = error(&file("<f4", "False", &" ".repeat(2000), &[]));
        assert!(long.contains("at most 1024"), "{long}");
        let whole = written(&[2, 2], &[1.0; 4]);
        for length in 0..whole.len() {
            assert!(read_all(&whole[..length]).is_err(), "{length}");
        }
    }
}
