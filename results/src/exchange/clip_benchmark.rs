//! The files of `CLIP_benchmark`: one for each task, which `clip_benchmark build` puts into a
//! table. It reads every JSON file of the folder.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    datasets::dataset_of,
    exported::ExportFolder,
    model_name::ModelName,
    parts::{Part, parts},
    samples::top5,
};
use crate::{Record, Result};

/// Our metrics of classes and its names of them; `lp_` stands before those of a probe.
const CLASSES: [[&str; 2]; 2] = [
    ["accuracy", "acc1"],
    ["mean_per_class", "mean_per_class_recall"],
];
/// What our metrics of retrieval begin with, and its names of them.
const RECALLS: [[&str; 2]; 2] = [
    ["image_recall@", "image_retrieval_recall@"],
    ["text_recall@", "text_retrieval_recall@"],
];

pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    for record in folder.publishable() {
        let Some(task) = task_of(record) else {
            let reason = format!("CLIP_benchmark has no {}", record.method);
            folder.leave_out(record.name(), reason);
            continue;
        };
        let parts = parts(record);
        let part = &parts[0];
        let key = match dataset_of(&record.task) {
            Some(known) if known.rows != part.metrics[0].n => {
                let (key, rows, own) = (known.key, known.rows, part.metrics[0].n);
                let reason = format!("its {own} rows are not the {rows} of CLIP_benchmark's {key}");
                folder.leave_out(record.name(), reason);
                continue;
            }
            Some(known) => known.key,
            None => record.task.as_str(),
        };
        leave_out_metrics(folder, part);
        for other in &parts[1..] {
            folder.leave_out(&other.name, "CLIP_benchmark has one split a task");
        }
        let metrics = metrics(folder, part)?;
        write(folder, &File { record, task, key }, metrics)?;
    }
    Ok(())
}

/// What a file is of.
struct File<'a> {
    record: &'a Record,
    task: &'a str,
    key: &'a str,
}

fn write(folder: &mut ExportFolder, of: &File, metrics: Map<String, Value>) -> Result<()> {
    let ModelName { owner, name, .. } = ModelName::of(of.record);
    let (task, key) = (of.task, of.key);
    let dataset = key.replace('/', "_");
    let file = format!("{dataset}_{owner}_{name}_en_{task}.json");
    let result = json!({
        "dataset": key,
        "model": name,
        "pretrained": owner,
        "task": task,
        "language": "en",
        "metrics": metrics,
    });
    folder.write(Path::new(&file), format!("{result}\n").as_bytes())
}

/// What it calls such a task; None where it has none. A text says with which words an image is
/// asked for, so a question or a hypothesis is none of its tasks.
fn task_of(record: &Record) -> Option<&'static str> {
    match record.method.as_str() {
        "zero_shot" => Some("zeroshot_classification"),
        "retrieval" => Some("zeroshot_retrieval"),
        "linear_probe" if record.family == "vision" => Some("linear_probe"),
        _ => None,
    }
}

fn name_of(metric: &str, probe: bool) -> Option<String> {
    let before = if probe { "lp_" } else { "" };
    let of_classes = CLASSES.iter().find(|[own, _]| *own == metric);
    let recall = || {
        RECALLS
            .iter()
            .find_map(|[own, its]| Some(format!("{its}{}", metric.strip_prefix(own)?)))
    };
    of_classes
        .map(|[_, its]| format!("{before}{its}"))
        .or_else(recall)
}

fn leave_out_metrics(folder: &mut ExportFolder, part: &Part) {
    for score in &part.metrics {
        if score.metric != "top5" && name_of(&score.metric, false).is_none() {
            let name = format!("{} {}", part.name, score.metric);
            folder.leave_out(name, "CLIP_benchmark has no such metric");
        }
    }
}

/// A key that has no value is left out, where Python would write NaN, which is no JSON.
fn metrics(folder: &ExportFolder, part: &Part) -> Result<Map<String, Value>> {
    let probe = part.record.method == "linear_probe";
    let mut metrics = Map::new();
    for score in &part.metrics {
        if let Some(name) = name_of(&score.metric, probe) {
            metrics.insert(name, score.value.into());
        }
    }
    if part.record.method != "retrieval"
        && let Some(value) = top5(folder.run, part)?
    {
        let name = if probe { "lp_acc5" } else { "acc5" };
        metrics.insert(name.into(), value.into());
    }
    if probe {
        metrics.insert("seed".into(), part.record.seed.into());
        metrics.insert("fewshot_k".into(), (-1).into());
    }
    Ok(metrics)
}
