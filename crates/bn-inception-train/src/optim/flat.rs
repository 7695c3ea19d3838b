//! Tensors of a network in one flat buffer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bn_inception::{TensorRole, is_cpu};
use burn::tensor::{DType, Device, Tensor, TensorReadError};
use rayon::prelude::*;

use crate::group::Group;

/// Elements that one thread takes at a time. Fixed, so that sums are the same for any number of threads.
pub(super) const CHUNK: usize = 1 << 14;

/// The place of one tensor in a flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Name of the tensor.
    pub name: String,
    /// Its role in the network.
    pub role: TensorRole,
    /// Its elements in the buffer.
    pub range: Range<usize>,
}

/// Tensors of a network one after the other, by role and then by name: those that are treated alike lie side by side.
///
/// On CPU devices the buffer is in memory as `f32`; elsewhere it is one tensor, which stays on its device. Nothing here
/// takes part in automatic differentiation.
#[derive(Debug, Clone)]
pub struct Flat {
    pub(super) index: Arc<[Slot]>,
    pub(super) buffer: Buffer,
}

/// Elements of a [`Flat`].
#[derive(Debug, Clone)]
pub(super) enum Buffer {
    Host(Vec<f32>),
    Device(Box<Tensor<1>>),
}

impl Flat {
    /// These `tensors`, each with its name.
    pub(crate) fn new(tensors: Vec<(String, Tensor<1>)>) -> Self {
        let with_role = |(name, tensor): (String, _)| (TensorRole::of(&name), name, tensor);
        let mut tensors: Vec<_> = tensors.into_iter().map(with_role).collect();
        tensors.sort_by(|(role, name, _), (other_role, other_name, _)| (role, name).cmp(&(other_role, other_name)));
        let mut end = 0;
        let slots = tensors.into_iter().map(|(role, name, tensor): (_, _, Tensor<1>)| {
            let range = end..end + tensor.dims()[0];
            end = range.end;
            (Slot { name, role, range }, tensor)
        });
        let (index, tensors): (Vec<_>, Vec<_>) = slots.unzip();
        let buffer = if tensors.is_empty() { Buffer::empty() } else { Buffer::of(Tensor::cat(tensors, 0)) };
        Self { index: index.into(), buffer }
    }

    /// The tensors in the order of the buffer.
    #[must_use]
    pub fn index(&self) -> &[Slot] {
        &self.index
    }

    /// The place of the tensor called `name`.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        let wanted = (TensorRole::of(name), name);
        let place = self.index.binary_search_by(|slot| (slot.role, slot.name.as_str()).cmp(&wanted));
        place.ok().map(|place| &self.index[place])
    }

    /// Total number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.last().map_or(0, |slot| slot.range.end)
    }

    /// True if there are no tensors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The whole buffer, copied to the host.
    ///
    /// # Errors
    /// [`TensorReadError`] if the device cannot be read.
    pub fn to_vec(&self) -> Result<Vec<f32>, TensorReadError> {
        match &self.buffer {
            Buffer::Host(values) => Ok(values.clone()),
            Buffer::Device(values) => Tensor::clone(values).try_into_vec_as::<f32>(),
        }
    }

    /// Every tensor by name, copied to the host.
    ///
    /// # Errors
    /// [`TensorReadError`] if the device cannot be read.
    pub fn to_arrays(&self) -> Result<BTreeMap<String, Vec<f32>>, TensorReadError> {
        let values = self.to_vec()?;
        let array = |slot: &Slot| (slot.name.clone(), values[slot.range.clone()].to_vec());
        Ok(self.index.iter().map(array).collect())
    }

    /// Tensors of the same names, sizes and device with the values of `arrays`; `missing` in those without an array.
    ///
    /// # Panics
    /// If an array has another length than the tensor of its name.
    #[must_use]
    pub fn with_arrays(&self, arrays: &BTreeMap<String, Vec<f32>>, missing: f32) -> Self {
        let mut values = vec![missing; self.len()];
        for slot in self.index.iter() {
            if let Some(array) = arrays.get(&slot.name) {
                values[slot.range.clone()].copy_from_slice(array);
            }
        }
        let buffer = match &self.buffer {
            Buffer::Host(_) => Buffer::Host(values),
            Buffer::Device(own) => Buffer::on_device(Tensor::from_data(values.as_slice(), &own.device())),
        };
        Self { index: self.index.clone(), buffer }
    }

    /// Zeros for those of these tensors that have one of the `names`, in memory.
    pub(crate) fn zeros(&self, names: &[String]) -> Self {
        let mut end = 0;
        let mut index = Vec::new();
        for slot in self.index.iter().filter(|slot| names.contains(&slot.name)) {
            let range = end..end + slot.range.len();
            end = range.end;
            index.push(Slot { name: slot.name.clone(), role: slot.role, range });
        }
        Self { index: index.into(), buffer: Buffer::Host(vec![0.0; end]) }
    }

    /// The sum of these tensors over the first `ranks` ranks of `group`.
    pub(crate) fn reduced(mut self, group: &dyn Group, ranks: usize) -> Self {
        group.reduce(self.buffer.host(), ranks);
        self
    }

    /// All elements times `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        match &mut self.buffer {
            Buffer::Host(values) => values.par_iter_mut().for_each(|value| *value *= factor as f32),
            Buffer::Device(values) => **values = Tensor::clone(values).mul_scalar(factor),
        }
        self
    }

    /// The sum of these tensors and `other`.
    ///
    /// # Panics
    /// If `other` has other tensors.
    #[must_use]
    pub fn plus(mut self, mut other: Self) -> Self {
        assert!(self.index == other.index, "the sum of different tensors");
        match &mut self.buffer {
            Buffer::Host(sum) => {
                let more = other.buffer.host().par_iter();
                sum.par_iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
            Buffer::Device(sum) => **sum = Tensor::clone(sum) + other.buffer.on(&sum.device()).clone(),
        }
        self
    }
}

impl Buffer {
    fn empty() -> Self {
        Self::Host(Vec::new())
    }

    fn on_device(values: Tensor<1>) -> Self {
        Self::Device(Box::new(values))
    }

    fn of(values: Tensor<1>) -> Self {
        if values.dtype() == DType::F32 && is_cpu(&values.device()) {
            Self::Host(read(values))
        } else {
            Self::on_device(values)
        }
    }

    /// The elements in memory, which they are moved to.
    pub(super) fn host(&mut self) -> &mut [f32] {
        if let Self::Device(values) = self {
            *self = Self::Host(read(Tensor::clone(values)));
        }
        match self {
            Self::Host(values) => values,
            Self::Device(_) => &mut [],
        }
    }

    /// The elements on `device`, which they are moved to.
    pub(super) fn on(&mut self, device: &Device) -> &mut Tensor<1> {
        let moved = match self {
            Self::Host(values) => Tensor::from_data(values.as_slice(), device),
            Self::Device(values) => Tensor::clone(values).to_device(device),
        };
        *self = Self::on_device(moved);
        match self {
            Self::Device(values) => values,
            Self::Host(_) => unreachable!("assigned in the line above"),
        }
    }
}

fn read(values: Tensor<1>) -> Vec<f32> {
    values.into_data().convert::<f32>().try_into_vec().expect("converted to `f32`")
}
