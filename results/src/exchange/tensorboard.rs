//! Event files of `TensorBoard`: a folder for each record with its scores as scalars, and what was
//! run as hyperparameters.

use std::path::PathBuf;

use flava_base::{ProtoMessage, first_event, scalar_event, value_event};

use super::{
    exported::ExportFolder,
    model_name::ModelName,
    parts::{Part, parts},
    times::ended,
};
use crate::Result;

/// The plugin that shows hyperparameters, and its tags.
const PLUGIN: &str = "hparams";
const SESSION_START: &str = "_hparams_/session_start_info";
const SESSION_END: &str = "_hparams_/session_end_info";
/// `DataClass::DATA_CLASS_TENSOR` and `DataType::DT_FLOAT`.
const TENSOR: u64 = 2;
const FLOAT: u64 = 1;
/// `Status::STATUS_SUCCESS`.
const SUCCESS: u64 = 1;

pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    for record in folder.records.clone() {
        let place = PathBuf::from(ModelName::of(record).joined("__"));
        for part in parts(record) {
            let end = ended(record).unwrap_or_default();
            let file = format!("events.out.tfevents.{end:010.0}.flava-eval");
            let place = place.join(&part.name).join(file);
            folder.write(&place, &events(&part, end))?;
        }
    }
    Ok(())
}

fn events(part: &Part, end: f64) -> Vec<u8> {
    let start = end - part.record.seconds;
    let mut file = first_event(start);
    file.extend(plugin_event(
        start,
        SESSION_START,
        &session_start(part, start),
    ));
    for score in &part.metrics {
        for (name, value) in [
            ("", score.value),
            ("/standard_error", score.standard_error),
            ("/ci_low", score.ci_low),
            ("/ci_high", score.ci_high),
        ] {
            let tag = format!("{}{name}", score.metric);
            file.extend(scalar_event(end, 0, &tag, value));
        }
    }
    // SessionEndInfo { status: 1, end_time_secs: 2 } in HParamsPluginData { session_end_info: 4 }
    let done = ProtoMessage::new().varint(1, SUCCESS).double(2, end);
    let done = ProtoMessage::new().message(4, &done);
    file.extend(plugin_event(end, SESSION_END, &done));
    file
}

/// `HParamsPluginData { session_start_info: 3 }`, whose `hparams` map is field 1, `group_name` 4
/// and `start_time_secs` 5.
fn session_start(part: &Part, start: f64) -> ProtoMessage {
    let record = part.record;
    let text = |value: &str| ProtoMessage::new().bytes(3, value.as_bytes());
    let number = |value: f64| ProtoMessage::new().double(2, value);
    let flag = |value: bool| ProtoMessage::new().varint(4, value.into());
    let model = ModelName::of(record).joined("/");
    let hparams = [
        ("task", text(&record.task)),
        ("split", text(part.split)),
        ("model", text(&model)),
        ("model_revision", text(&record.model_revision)),
        ("model_fingerprint", text(&record.model_fingerprint)),
        ("protocol", text(&record.protocol)),
        ("method", text(&record.method)),
        ("feature", text(&record.feature)),
        ("precision", text(&record.precision)),
        ("recipe", text(&record.recipe)),
        ("seed", number(record.seed as f64)),
        ("n", number(part.metrics[0].n as f64)),
        ("publishable", flag(record.publishable)),
    ];
    let mut session = ProtoMessage::new();
    for (key, value) in hparams {
        let entry = ProtoMessage::new().bytes(1, key.as_bytes());
        session = session.message(1, &entry.message(2, &value));
    }
    let group = format!("{model}/{}", part.name);
    let session = session.bytes(4, group.as_bytes()).double(5, start);
    ProtoMessage::new().message(3, &session)
}

/// A value that only its plugin reads.
fn plugin_event(time: f64, tag: &str, content: &ProtoMessage) -> Vec<u8> {
    // SummaryMetadata { plugin_data: 1, data_class: 4 }, PluginData { plugin_name: 1, content: 2 }
    let content = content.clone().into_bytes();
    let plugin = ProtoMessage::new().bytes(1, PLUGIN.as_bytes());
    let metadata = ProtoMessage::new()
        .message(1, &plugin.bytes(2, &content))
        .varint(4, TENSOR);
    // Summary.Value { tag: 1, tensor: 8, metadata: 9 }: the tensor is empty, as its writers have it.
    let tensor = ProtoMessage::new()
        .varint(1, FLOAT)
        .message(2, &ProtoMessage::new());
    let value = ProtoMessage::new().bytes(1, tag.as_bytes());
    value_event(time, 0, &value.message(8, &tensor).message(9, &metadata))
}
