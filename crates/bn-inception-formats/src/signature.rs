//! Recognition of a format by its first bytes.

use crate::error::ReadError;
use crate::format::Format;

/// First bytes of the formats. Protocol buffers have no signature: ONNX models begin with `ir_version` (field 1, an
/// integer) and Caffe models with the name of the network (field 1, text) or a layer (field 2 or 100), because every
/// serialiser writes fields in ascending order.
const SIGNATURES: [(&[u8], Format); 11] = [
    (b"PK\x03\x04", Format::PyTorchZip),
    (b"\x80\x02", Format::PyTorchLegacy),
    (b"\x80\x03", Format::PyTorchLegacy),
    (b"\x80\x04", Format::PyTorchLegacy),
    (b"\x80\x05", Format::PyTorchLegacy),
    (&[0x12, 1, 0, 0, 0, 0, 0, 0], Format::MxNet),
    (b"NRUB", Format::Burnpack),
    (&[0x08], Format::Onnx),
    (&[0x0a], Format::Caffe),
    (&[0x12], Format::Caffe),
    (&[0xa2, 0x06], Format::Caffe),
];

/// First bytes of other files that are mistaken for weights.
const STRANGERS: [(&[u8], &str); 13] = [
    (b"\xff\xd8\xff", "it is a JPEG image"),
    (b"\x89PNG", "it is a PNG image"),
    (b"GIF8", "it is a GIF image"),
    (b"PK\x05\x06", "it is an empty zip archive"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it first"),
    (b"BZh", "it is compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "it is compressed with xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it first"),
    (b"\x89HDF", "it is an HDF5 file"),
    (b"%PDF", "it is a PDF document"),
    (b"\x7fELF", "it is a program"),
    (b"version https://git-lfs", "it is a Git LFS pointer: the file itself was not fetched"),
    (b"{", "it is JSON text"),
];

/// Format of a file with this content.
///
/// # Errors
/// [`ReadError::Empty`], or [`ReadError::Unrecognized`] with a guess at the kind of file.
pub(crate) fn recognize(bytes: &[u8]) -> Result<Format, ReadError> {
    if bytes.is_empty() {
        return Err(ReadError::Empty);
    }
    // Safetensors: the length of the header, then the header, JSON.
    if let Some((length, [b'{', ..])) = bytes.split_first_chunk::<8>()
        && u64::from_le_bytes(*length) < 1 << 32
    {
        return Ok(Format::Safetensors);
    }
    let text = bytes.trim_ascii_start();
    let starts = |tag: &[u8]| text.len() >= tag.len() && text[..tag.len()].eq_ignore_ascii_case(tag);
    if starts(b"<!doctype html") || starts(b"<html") {
        let found = "it is an HTML page".to_owned();
        return Err(ReadError::Unrecognized { found });
    }
    let stranger = STRANGERS.iter().find(|(start, _)| bytes.starts_with(start));
    if let Some((_, found)) = stranger {
        let found = (*found).to_owned();
        return Err(ReadError::Unrecognized { found });
    }
    let known = SIGNATURES.iter().find(|(start, _)| bytes.starts_with(start));
    known.map(|(_, format)| *format).ok_or_else(|| {
        let start = &bytes[..bytes.len().min(8)];
        let found = format!("it begins with the bytes {start:02x?}, like no format known here");
        ReadError::Unrecognized { found }
    })
}
