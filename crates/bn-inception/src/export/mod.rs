//! Files for other programs: ONNX graphs, and tensors with names of ours or of PyTorch models.
//!
//! burn-onnx 0.22 has an exporter that records the operations of a forward pass. It is not used here: it would see a
//! batch normalisation as the arithmetic it is made of, the folded network on a CPU not at all, and has no place for
//! preprocessing, labels and licence.

mod graph;
mod network;
mod proto;
mod tensors;

use prost::Message as _;
use safetensors::SafeTensorError;

use crate::config::{BnInceptionConfig, Normalization};
use crate::state::{self, State, StateError};
use crate::weights::{self, Metadata};
use graph::Graph;
pub use tensors::{burnpack, safetensors};

/// Version of ONNX's operators that the graph uses.
const OPSET: i64 = 17;

/// Version of ONNX's file layout; the first that has the operators.
const IR_VERSION: i64 = 8;

/// Why a network could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The tensors are not those of the configuration.
    #[error(transparent)]
    State(#[from] StateError),
    /// The metadata cannot be written.
    #[error("metadata: {0}")]
    Metadata(#[from] serde_json::Error),
    /// A tensor has no name there.
    #[error("`{tensor}` has no name in {names}")]
    Name {
        /// Our name of the tensor.
        tensor: String,
        /// Whose names were asked for.
        names: &'static str,
    },
    /// The tensors do not make a safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafeTensorError),
    /// The tensors do not make a burnpack file.
    #[error(transparent)]
    Burnpack(#[from] burn_pack::Error),
}

/// The network of `config` with the tensors of `state`, folded ([`FoldedModel::state`](crate::FoldedModel::state)) or
/// not ([`Model::state`](crate::Model::state)), as an ONNX file: `images` `[batch, 3, S, S]` → `logits` `[batch, classes]`, where the
/// batch may be of any size and S is the configuration's input size.
///
/// The input size is fixed because padding depends on it: a pool that may hang over the edge (Caffe) and
/// TensorFlow's `SAME` pad odd and even sizes differently, and the graph holds the result, numbers. Initializers carry
/// the names of [`state`], and the metadata entry `bn_inception` is that of [`weights`], so [`weights::load`] reads the
/// file back. ONNX's batch normalisation always has a γ; in a network without one it is 1, and the configuration in the
/// file says that there is one.
///
/// # Errors
/// [`ExportError::State`] if the tensors are not those of the configuration.
pub fn onnx(
    config: &BnInceptionConfig,
    state: State,
    metadata: &Metadata,
) -> Result<Vec<u8>, ExportError> {
    state::check(&config.tensors(), &state)?;
    let mut config = config.clone();
    if let Normalization::Batch { scale, .. } = &mut config.normalization {
        *scale = true;
    }
    let metadata = Metadata {
        config: config.clone(),
        ..metadata.clone()
    };
    let entry = proto::StringStringEntry {
        key: weights::METADATA_KEY.to_owned(),
        value: weights::header(&metadata)?,
    };
    let mut graph = Graph::new(state);
    network::build(&mut graph, &config);
    let model = proto::Model {
        ir_version: IR_VERSION,
        opset_import: vec![proto::OperatorSetId {
            domain: String::new(),
            version: OPSET,
        }],
        producer_name: "bn-inception".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph.finish("bn_inception", config.input_size, config.classes)),
        metadata_props: vec![entry],
    };
    Ok(model.encode_to_vec())
}
