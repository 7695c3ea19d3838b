//! Burn's own format, by the `burn-pack` crate: header, CBOR descriptors, tensors.

use std::collections::BTreeMap;

use burn_pack::{Bytes, DType, Reader};

use crate::archive::Archive;
use crate::array::{Array, Budget, Element};
use crate::error::{Problem, shown};
use crate::format::Format;
use crate::limits::MAX_NAME;

/// Element types that become `f32`.
const ELEMENTS: [(DType, Element); 9] = [
    (DType::F32, Element::F32),
    (DType::F64, Element::F64),
    (DType::F16, Element::F16),
    (DType::BF16, Element::BF16),
    (DType::I64, Element::I64),
    (DType::I32, Element::I32),
    (DType::I16, Element::I16),
    (DType::I8, Element::I8),
    (DType::U8, Element::U8),
];

pub(crate) fn read(bytes: &[u8]) -> Result<Archive, Problem> {
    let broken =
        |error: burn_pack::Error| Problem::malformed(format!("damaged or cut short: {}", shown(&error.to_string())));
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(broken)?;
    let metadata: BTreeMap<String, String> = reader.metadata().clone();
    let mut budget = Budget::new(bytes.len());
    let mut tensors = BTreeMap::new();
    for tensor in reader.into_tensors().map_err(broken)? {
        let (name, dtype, shape, _, data) = tensor.into_parts().map_err(broken)?;
        Problem::limit("length of a name", name.len(), MAX_NAME)?;
        let found = ELEMENTS.iter().find(|(known, _)| *known == dtype);
        let unknown = || Problem::tensor(&name, format!("holds {dtype:?}, which no weights need"));
        let (_, element) = found.ok_or_else(unknown)?;
        let shape = shape.to_vec();
        let length = budget.admit(&name, &shape)?;
        if length.checked_mul(element.size()) != Some(data.len()) {
            let reason = format!("shape {shape:?} with {} bytes of {dtype:?}", data.len());
            return Err(Problem::tensor(&name, reason));
        }
        tensors.insert(name, Array::new(shape, element.decode(&data)));
    }
    Ok(Archive { metadata, ..Archive::of_tensors(Format::Burnpack, tensors) })
}
