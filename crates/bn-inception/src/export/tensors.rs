//! Files of named tensors: safetensors and burnpack.

use std::collections::HashMap;

use burn::tensor::{DType, TensorData};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};

use super::ExportError;
use crate::import::Names;
use crate::layers::TensorRole;
use crate::state::State;
use crate::weights::{self, METADATA_KEY, Metadata, Precision};

/// A tensor as it lies in a file.
struct Stored {
    name: String,
    halved: bool,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A safetensors file with the tensors of `state`, the names of `names`, and all of `metadata` in one entry.
///
/// # Errors
/// [`ExportError::Name`] if `names` has none for a tensor.
pub fn safetensors(
    state: &State,
    metadata: &Metadata,
    precision: Precision,
    names: Names,
) -> Result<Vec<u8>, ExportError> {
    let stored = stored(state, metadata, precision, names)?;
    let mut views = Vec::with_capacity(stored.len());
    for tensor in &stored {
        let dtype = match tensor.halved {
            true => Dtype::F16,
            false => Dtype::F32,
        };
        let view = TensorView::new(dtype, tensor.shape.clone(), &tensor.bytes)?;
        views.push((&tensor.name, view));
    }
    let entries = HashMap::from([(METADATA_KEY.to_owned(), weights::header(metadata)?)]);
    Ok(safetensors::serialize(views, Some(entries))?)
}

/// The same as a burnpack file, Burn's own container.
///
/// # Errors
/// As [`safetensors()`].
pub fn burnpack(
    state: &State,
    metadata: &Metadata,
    precision: Precision,
    names: Names,
) -> Result<Vec<u8>, ExportError> {
    let stored = stored(state, metadata, precision, names)?;
    let tensors = stored.into_iter().map(|tensor| {
        let dtype = match tensor.halved {
            true => DType::F16,
            false => DType::F32,
        };
        let bytes = burn_pack::Bytes::from_bytes_vec(tensor.bytes);
        burn_pack::Tensor::new(tensor.name, dtype, tensor.shape, None, bytes)
    });
    let writer = burn_pack::Writer::new(tensors.collect())
        .with_metadata(METADATA_KEY, &weights::header(metadata)?);
    Ok(writer.into_bytes()?.to_vec())
}

fn stored(
    state: &State,
    metadata: &Metadata,
    precision: Precision,
    names: Names,
) -> Result<Vec<Stored>, ExportError> {
    let plan = metadata.config.plan;
    let stored = state.iter().map(|(ours, data)| {
        let name = names.of(plan, ours).ok_or_else(|| ExportError::Name {
            tensor: ours.clone(),
            names: names.source(),
        })?;
        let halved = precision == Precision::Half && TensorRole::of(ours) == TensorRole::Weight;
        Ok(Stored {
            name,
            halved,
            shape: data.shape().to_vec(),
            bytes: bytes(data, halved),
        })
    });
    stored.collect()
}

fn bytes(data: &TensorData, halved: bool) -> Vec<u8> {
    let values = data.iter::<f32>();
    match halved {
        true => values
            .flat_map(|v| f16::from_f32(v).to_le_bytes())
            .collect(),
        false => values.flat_map(f32::to_le_bytes).collect(),
    }
}
