//! ONNX files.
//!
//! burn-onnx 0.22 has an exporter that records the operations of a forward pass. It is not used here: it would record a
//! batch normalisation as the arithmetic it is made of and the folded network on a CPU not at all, and has no place for
//! preprocessing, labels and licence.

use prost::Message as _;

use super::error::ExportError;
use super::graph::Graph;
use super::network::{self, FeatureEnd};
use super::proto;
use crate::config::Normalization;
use crate::state::State;
use crate::weights::metadata::{self, Metadata};

/// Version of ONNX's operators that the graph uses.
const OPSET: i64 = 17;

/// Version of ONNX's file layout, the first that has these operators.
const IR_VERSION: i64 = 8;

/// An ONNX file of the network of `metadata` with the tensors of `state`, which must match: all of it, or up to the end
/// of the features.
pub(crate) fn onnx(
    state: State,
    mut metadata: Metadata,
    features: Option<&FeatureEnd<'_>>,
) -> Result<Vec<u8>, ExportError> {
    // ONNX's batch normalisation always has a γ; where the network has none it is 1.
    if let Normalization::Batch { scale, .. } = &mut metadata.config.normalization {
        *scale = true;
    }
    let config = &metadata.config;
    let entry = proto::StringStringEntry { key: metadata::KEY.to_owned(), value: metadata.to_entry()? };
    let mut graph = Graph::new(state);
    let output = match features {
        None => ("logits", config.classes),
        Some(end) => ("features", config.pooled_end_point(end.end_point)?),
    };
    network::build(&mut graph, config, features);
    let model = proto::Model {
        ir_version: IR_VERSION,
        opset_import: vec![proto::OperatorSetId { domain: String::new(), version: OPSET }],
        producer_name: "bn-inception".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph.finish("bn_inception", [config.image_channels(), config.input_size], output)),
        metadata_props: vec![entry],
    };
    Ok(model.encode_to_vec())
}
