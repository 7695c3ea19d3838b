//! Little-endian numbers of a byte slice.

use crate::error::Problem;

/// A position in a byte slice. Every read is checked.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `length` bytes; `what` names them in the error if there are fewer.
    pub(crate) fn take(&mut self, what: &'static str, length: u64) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.position..];
        match usize::try_from(length).ok().and_then(|n| rest.get(..n)) {
            Some(taken) => {
                self.position += taken.len();
                Ok(taken)
            }
            None => Err(Problem::CutShort { what, needed: length, available: rest.len() as u64 }),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(what, N as u64)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Problem> {
        self.array(what).map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Problem> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Problem> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, Problem> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Problem> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Bytes before the next newline, which is skipped.
    pub(crate) fn line(&mut self, what: &'static str) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.position..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(Problem::CutShort { what, needed: rest.len() as u64 + 1, available: rest.len() as u64 });
        };
        self.position += length + 1;
        Ok(&rest[..length])
    }
}
