//! Files of named tensors: safetensors and burnpack.

use std::collections::HashMap;

use burn::tensor::{DType, TensorData};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};

use super::error::ExportError;
use crate::layers::TensorRole;
use crate::state::State;
use crate::weights::metadata::{self, Metadata};
use crate::weights::names::Names;

/// Element type of the filters in a file; everything else is always `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    Full,
    /// 16 bits (IEEE half), half the size; read back as `f32`.
    Half,
}

/// A tensor as stored in a file.
struct Stored {
    name: String,
    precision: Precision,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A safetensors file with the tensors of `state`, named by `names`, and all of `metadata` in one entry.
pub(crate) fn safetensors(
    state: &State,
    metadata: &Metadata,
    precision: Precision,
    names: Names,
) -> Result<Vec<u8>, ExportError> {
    let stored = stored(state, metadata, precision, names)?;
    let mut views = Vec::with_capacity(stored.len());
    for tensor in &stored {
        let dtype = match tensor.precision {
            Precision::Half => Dtype::F16,
            Precision::Full => Dtype::F32,
        };
        let view = TensorView::new(dtype, tensor.shape.clone(), &tensor.bytes)?;
        views.push((&tensor.name, view));
    }
    let entries = HashMap::from([(metadata::KEY.to_owned(), metadata.to_entry()?)]);
    Ok(safetensors::serialize(views, Some(entries))?)
}

/// The same as a burnpack file, Burn's own container.
pub(crate) fn burnpack(
    state: &State,
    metadata: &Metadata,
    precision: Precision,
    names: Names,
) -> Result<Vec<u8>, ExportError> {
    let stored = stored(state, metadata, precision, names)?;
    let tensors = stored.into_iter().map(|tensor| {
        let dtype = match tensor.precision {
            Precision::Half => DType::F16,
            Precision::Full => DType::F32,
        };
        let bytes = burn_pack::Bytes::from_bytes_vec(tensor.bytes);
        burn_pack::Tensor::new(tensor.name, dtype, tensor.shape, None, bytes)
    });
    let writer = burn_pack::Writer::new(tensors.collect()).with_metadata(metadata::KEY, &metadata.to_entry()?);
    Ok(writer.into_bytes()?.to_vec())
}

fn stored(state: &State, metadata: &Metadata, precision: Precision, names: Names) -> Result<Vec<Stored>, ExportError> {
    let plan = metadata.config.plan;
    let stored = state.iter().map(|(ours, data)| {
        let name =
            names.of(plan, ours).ok_or_else(|| ExportError::Name { tensor: ours.clone(), names: names.source() })?;
        let precision = match TensorRole::of(ours) {
            TensorRole::Weight => precision,
            TensorRole::Bias | TensorRole::Norm | TensorRole::Statistic => Precision::Full,
        };
        Ok(Stored { name, precision, shape: data.shape().to_vec(), bytes: bytes(data, precision) })
    });
    stored.collect()
}

fn bytes(data: &TensorData, precision: Precision) -> Vec<u8> {
    let values = data.iter::<f32>();
    match precision {
        Precision::Half => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        Precision::Full => values.flat_map(f32::to_le_bytes).collect(),
    }
}
