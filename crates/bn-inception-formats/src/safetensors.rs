//! Safetensors, by the crate of that name. Tensors with metadata.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::archive::Archive;
use crate::array::{Array, Budget, Element};
use crate::error::{Problem, shown};
use crate::format::Format;
use crate::limits::MAX_NAME;

/// Element types that become `f32`.
const ELEMENTS: [(Dtype, Element); 10] = [
    (Dtype::F32, Element::F32),
    (Dtype::F64, Element::F64),
    (Dtype::F16, Element::F16),
    (Dtype::BF16, Element::BF16),
    (Dtype::I64, Element::I64),
    (Dtype::I32, Element::I32),
    (Dtype::I16, Element::I16),
    (Dtype::I8, Element::I8),
    (Dtype::U8, Element::U8),
    (Dtype::BOOL, Element::Bool),
];

pub(crate) fn read(bytes: &[u8]) -> Result<Archive, Problem> {
    let broken = |error: safetensors::SafeTensorError| {
        Problem::malformed(format!("damaged or cut short: {}", shown(&error.to_string())))
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut budget = Budget::new(bytes.len());
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        Problem::limit("length of a name", name.len(), MAX_NAME)?;
        let found = ELEMENTS.iter().find(|(dtype, _)| *dtype == view.dtype());
        let Some((_, element)) = found else {
            let reason = format!("holds {:?}, which no weights need", view.dtype());
            return Err(Problem::tensor(name, reason));
        };
        budget.admit(name, view.shape())?;
        let array = Array::new(view.shape().to_vec(), element.decode(view.data()));
        tensors.insert(name.to_owned(), array);
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Archive { metadata: metadata.into_iter().collect(), ..Archive::of_tensors(Format::Safetensors, tensors) })
}
