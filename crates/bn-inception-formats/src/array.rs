//! Tensors as read from a file.

use half::{bf16, f16};

use crate::error::Problem;
use crate::limits::{MAX_RANK, MAX_TENSORS, MAX_VALUES_PER_BYTE};

/// A tensor, `f32` whatever the element type in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Values,
}

/// The values of an [`Array`].
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// One value per element.
    Each(Vec<f32>),
    /// One value for all elements, as in ONNX graphs without weights.
    Constant(f32),
}

impl Array {
    /// A tensor of this shape, with one value per element.
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Self {
        let values = Values::Each(values);
        Self { shape, values }
    }

    /// One value per element, constants repeated.
    pub fn into_values(self) -> Vec<f32> {
        let length = self.shape.iter().product();
        match self.values {
            Values::Each(values) => values,
            Values::Constant(value) => vec![value; length],
        }
    }
}

/// Element type in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F64,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// Size in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Little-endian numbers as `f32`; trailing bytes short of a number are ignored.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|b| value(*b)).collect()
        }
        match self {
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Self::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
            Self::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
            Self::U8 | Self::Bool => each(bytes, |[b]| b.into()),
        }
    }
}

/// Tensors that a file of a given size may still hold. Checked before anything is allocated for a tensor.
#[derive(Debug)]
pub(crate) struct Budget {
    tensors: usize,
    values: usize,
    file: usize,
}

impl Budget {
    pub(crate) fn new(file: usize) -> Self {
        Self { tensors: 0, values: 0, file }
    }

    /// Counts a file beside the first, of `size` bytes.
    pub(crate) fn extend(&mut self, size: u64) {
        self.file = self.file.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
    }

    /// Number of elements of another tensor, of this shape, if the file may hold it.
    pub(crate) fn admit(&mut self, name: &str, shape: &[usize]) -> Result<usize, Problem> {
        let length = elements(name, shape)?;
        self.tensors += 1;
        Problem::limit("number of tensors", self.tensors, MAX_TENSORS)?;
        self.values = self.values.saturating_add(length);
        let limit = self.file.saturating_mul(MAX_VALUES_PER_BYTE);
        if self.values > limit {
            let (all, file) = (self.values, self.file);
            let reason = format!("shape {shape:?} brings the file to {all} values, too many for {file} bytes");
            return Err(Problem::tensor(name, reason));
        }
        Ok(length)
    }
}

/// Number of elements of a tensor of this shape.
pub(crate) fn elements(name: &str, shape: &[usize]) -> Result<usize, Problem> {
    if shape.len() > MAX_RANK {
        let reason = format!("{} dimensions, at most {MAX_RANK} are accepted", shape.len());
        return Err(Problem::tensor(name, reason));
    }
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    product.ok_or_else(|| Problem::tensor(name, format!("shape {shape:?} is too large")))
}
