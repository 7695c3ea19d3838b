//! The encoding of protocol buffers: fields of a message, without copying.
//!
//! ONNX and Caffe files are protocol buffers. A generated decoder makes an object of every repeated message, and an
//! empty one takes two bytes in the file but hundreds in memory. Iterating over the fields of a message allocates
//! nothing. Source: "Encoding" in the Protocol Buffers documentation.

use crate::cursor::Cursor;
use crate::error::Problem;

/// Value of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// Integers, booleans and enumerations.
    Varint(u64),
    Fixed64([u8; 8]),
    /// Text, bytes, messages and packed numbers.
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// Fields of a message in the order of the file: (number, value). Ends after an error.
pub(crate) struct Fields<'a> {
    cursor: Cursor<'a>,
    ended: bool,
}

pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { cursor: Cursor::new(message), ended: false }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.cursor.left() == 0 {
            return None;
        }
        let field = field(&mut self.cursor);
        self.ended = field.is_err();
        Some(field)
    }
}

fn field<'a>(cursor: &mut Cursor<'a>) -> Result<(u64, Value<'a>), Problem> {
    let key = varint(cursor)?;
    let value = match key & 7 {
        0 => Value::Varint(varint(cursor)?),
        1 => Value::Fixed64(cursor.array("a number")?),
        2 => {
            let length = varint(cursor)?;
            Value::Bytes(cursor.take("a field", length)?)
        }
        5 => Value::Fixed32(cursor.array("a number")?),
        other => {
            let reason = format!("damaged: a field of wire type {other}");
            return Err(Problem::malformed(reason));
        }
    };
    Ok((key >> 3, value))
}

fn varint(cursor: &mut Cursor<'_>) -> Result<u64, Problem> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = cursor.u8("a number")?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Problem::malformed("damaged: a number of more than 64 bits"))
}

impl<'a> Value<'a> {
    /// Text, bytes or a message.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Problem> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(mistyped()),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Problem> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map_err(|_| Problem::malformed("damaged: a name is no text"))
    }

    pub(crate) fn integer(self) -> Result<i64, Problem> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            _ => Err(mistyped()),
        }
    }

    pub(crate) fn float(self) -> Result<f32, Problem> {
        match self {
            Self::Fixed32(word) => Ok(f32::from_le_bytes(word)),
            _ => Err(mistyped()),
        }
    }

    /// Appends a repeated integer field, packed or not.
    pub(crate) fn integers(self, to: &mut Vec<i64>) -> Result<(), Problem> {
        match self {
            Self::Varint(value) => to.push(value as i64),
            Self::Bytes(bytes) => {
                let mut cursor = Cursor::new(bytes);
                while cursor.left() > 0 {
                    to.push(varint(&mut cursor)? as i64);
                }
            }
            _ => return Err(mistyped()),
        }
        Ok(())
    }

    /// Appends a repeated `float` field, packed or not.
    pub(crate) fn floats(self, to: &mut Vec<f32>) -> Result<(), Problem> {
        match self {
            Self::Fixed32(word) => to.push(f32::from_le_bytes(word)),
            Self::Bytes(bytes) => to.extend(words(bytes)?.map(f32::from_le_bytes)),
            _ => return Err(mistyped()),
        }
        Ok(())
    }

    /// Appends a repeated `double` field, packed or not, as `f32`.
    pub(crate) fn doubles(self, to: &mut Vec<f32>) -> Result<(), Problem> {
        match self {
            Self::Fixed64(word) => to.push(f64::from_le_bytes(word) as f32),
            Self::Bytes(bytes) => to.extend(words(bytes)?.map(|word| f64::from_le_bytes(word) as f32)),
            _ => return Err(mistyped()),
        }
        Ok(())
    }
}

fn words<const N: usize>(bytes: &[u8]) -> Result<impl Iterator<Item = [u8; N]>, Problem> {
    match bytes.as_chunks::<N>() {
        (words, []) => Ok(words.iter().copied()),
        _ => Err(Problem::malformed("damaged: a list of numbers ends within one")),
    }
}

fn mistyped() -> Problem {
    Problem::malformed("damaged: a field of another type than its number says")
}
