//! What a result of a `model-index` is of: an entry of ours with the same key is replaced.

use serde_json::{Value, json};

use crate::Record;

/// The key of the block in front matter.
pub(super) const KEY: &str = "model-index";
/// What our entries say in the arguments of their metrics.
pub(super) const PROGRAM: &str = "flava-eval";

/// The configuration of a record's dataset: two protocols, methods or features of one dataset are
/// two configurations, since the Hub's library groups results by it.
pub(super) fn configuration(record: &Record, name: &str) -> String {
    format!("{name} ({})", record.protocol)
}

/// The key of a result of ours; None of a result of others.
pub(super) fn key_of(result: &Value) -> Option<Value> {
    let metrics = result.get("metrics")?.as_array()?;
    let ours = |metric: &Value| {
        let program = metric.pointer("/args/program").and_then(Value::as_str);
        program.is_some_and(|program| program.starts_with(PROGRAM))
    };
    let all = !metrics.is_empty() && metrics.iter().all(ours);
    let read = |path| result.pointer(path).cloned().unwrap_or_default();
    all.then(|| {
        json!([
            read("/dataset/type"),
            read("/dataset/config"),
            read("/dataset/split"),
        ])
    })
}
