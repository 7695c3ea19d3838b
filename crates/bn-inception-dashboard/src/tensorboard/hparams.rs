//! A run's settings for TensorBoard's tab HParams, in the messages of its `api.proto` and `plugin_data.proto`.

use std::collections::BTreeMap;

use prost::{Message, Oneof};
use serde_json::Value as Json;

use super::proto::{Dimension, Metadata, OneValue, PluginData, Shape, Tensor, Value};
use crate::run_log::Start;

const PLUGIN: &str = "hparams";

/// `DataClass.DATA_CLASS_TENSOR` of TensorFlow's `summary.proto`.
const CLASS_TENSOR: i32 = 2;

/// `DataType.DT_FLOAT` of TensorFlow's `types.proto`.
const FLOAT: i32 = 1;

/// Outcome of a run, with the numbers of `Status` in `api.proto`.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    Success = 1,
    Failure = 2,
}

#[derive(Clone, PartialEq, Message)]
struct HParamsPluginData {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(oneof = "Session", tags = "3, 4")]
    data: Option<Session>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Session {
    #[prost(message, tag = "3")]
    Start(SessionStart),
    #[prost(message, tag = "4")]
    End(SessionEnd),
}

#[derive(Clone, PartialEq, Message)]
struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, Setting>,
    #[prost(double, tag = "5")]
    start_time_secs: f64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionEnd {
    /// An enumeration, which is encoded as an integer.
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(double, tag = "2")]
    end_time_secs: f64,
}

/// `google.protobuf.Value`, as far as TensorBoard accepts it.
#[derive(Clone, PartialEq, Message)]
struct Setting {
    #[prost(oneof = "Kind", tags = "2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Truth(bool),
}

/// The settings and the recipe of a run that began at `time`, in seconds since 1970. Settings left open are left out.
pub fn start(start: &Start, time: f64) -> Value {
    let mut hparams = BTreeMap::new();
    for (name, value) in &start.settings {
        add(&mut hparams, name.clone(), value);
    }
    for (name, value) in &start.recipe {
        add(&mut hparams, format!("recipe/{name}"), value);
    }
    value("_hparams_/session_start_info", Session::Start(SessionStart { hparams, start_time_secs: time }))
}

/// The end of a run at `time`.
pub fn end(outcome: Outcome, time: f64) -> Value {
    value("_hparams_/session_end_info", Session::End(SessionEnd { status: outcome as i32, end_time_secs: time }))
}

fn add(hparams: &mut BTreeMap<String, Setting>, name: String, value: &Json) {
    let kind = match value {
        Json::Null => return,
        Json::Bool(truth) => Kind::Truth(*truth),
        Json::Number(number) => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::Text(text.clone()),
        Json::Array(_) => Kind::Text(value.to_string()),
        Json::Object(parts) => {
            for (part, inner) in parts {
                add(hparams, format!("{name}/{part}"), inner);
            }
            return;
        }
    };
    hparams.insert(name, Setting { kind: Some(kind) });
}

/// The data is in the metadata; the value itself is an empty tensor.
fn value(tag: &str, session: Session) -> Value {
    let content = HParamsPluginData { version: 0, data: Some(session) }.encode_to_vec();
    let plugin_data = Some(PluginData { plugin_name: PLUGIN.to_owned(), content });
    let nothing = Tensor { dtype: FLOAT, tensor_shape: Some(Shape { dim: vec![Dimension { size: 0 }] }) };
    Value {
        tag: tag.to_owned(),
        metadata: Some(Metadata { plugin_data, data_class: CLASS_TENSOR }),
        value: Some(OneValue::Tensor(nothing)),
    }
}
