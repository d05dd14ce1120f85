//! The tree of results of mteb: `results/OWNER__NAME/REVISION/TASK.json`, beside each the model's
//! `model_meta.json`.
//!
//! Only zero-shot classification and the retrieval of images: mteb's other classification protocols
//! are not ours, and the rank of the best caption does not give its nDCG over all five.

use std::path::{Path, PathBuf};

use flava_tasks::Outputs;
use serde_json::{Map, Value, json};

use super::{
    datasets::{KnownDataset, dataset_of},
    exported::ExportFolder,
    model_name::{OfModel, by_model},
    times::ended,
};
use crate::{Record, Result};

/// The cut-off of its main score of retrieval.
const CUT: usize = 10;

pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    let records = folder.publishable();
    for group in by_model(&records) {
        let place = place(&group);
        let mut any = false;
        for record in &group.records {
            any |= write(folder, record, &place)?;
        }
        if any {
            let meta = model_meta(&group);
            let file = place.join("model_meta.json");
            folder.write(&file, format!("{meta:#}\n").as_bytes())?;
        }
    }
    Ok(())
}

/// Writes a record's file, or leaves it out; whether it is written.
fn write(folder: &mut ExportFolder, record: &Record, place: &Path) -> Result<bool> {
    let known = dataset_of(&record.task);
    let named = known.and_then(|known| Some((known, known.mteb?)));
    let Some((known, task)) = named.filter(|_| is_shared(record)) else {
        folder.leave_out(record.name(), "mteb has no task of this protocol and rows");
        return Ok(false);
    };
    let rows = record.main().n;
    if rows != known.rows {
        let reason = format!(
            "its {rows} rows are not the {} of mteb's {task}",
            known.rows
        );
        folder.leave_out(record.name(), reason);
        return Ok(false);
    }
    let Some(scores) = scores(folder, record)? else {
        let reason = format!("{task}'s main score, nDCG, needs the predictions");
        folder.leave_out(record.name(), reason);
        return Ok(false);
    };
    let result = json!({
        "task_name": task,
        "dataset_revision": revision_or(&record.data_revision, &record.data_fingerprint),
        "mteb_version": null,
        "evaluation_time": record.seconds,
        "kg_co2_emissions": null,
        "date": ended(record),
        "scores": { split(known): [scores] },
    });
    let file = place.join(format!("{task}.json"));
    folder.write(&file, format!("{result:#}\n").as_bytes())?;
    Ok(true)
}

/// Whether mteb measures the same with the same thing.
fn is_shared(record: &Record) -> bool {
    matches!(record.method.as_str(), "zero_shot" | "retrieval")
}

/// What mteb calls the split of the rows.
fn split(known: &KnownDataset) -> &'static str {
    match known.task {
        "food101" => "validation",
        _ => "test",
    }
}

fn scores(folder: &mut ExportFolder, record: &Record) -> Result<Option<Value>> {
    let mut scores = json!({ "hf_subset": "default", "languages": ["eng-Latn"] });
    let found = if record.method == "retrieval" {
        found_images(folder, record)?
    } else {
        of_classes(folder, record)
    };
    let Some(found) = found else { return Ok(None) };
    for (name, value) in found {
        scores[name] = value;
    }
    Ok(Some(scores))
}

fn of_classes(folder: &mut ExportFolder, record: &Record) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    for score in &record.metrics {
        if score.metric == "accuracy" {
            found.insert("accuracy".into(), rounded(score.value));
            found.insert("main_score".into(), rounded(score.value));
        } else {
            let name = format!("{} {}", record.name(), score.metric);
            folder.leave_out(name, "mteb has no such metric");
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Of texts that find their one image; its rank gives the nDCG.
fn found_images(folder: &mut ExportFolder, record: &Record) -> Result<Option<Map<String, Value>>> {
    let Some(predictions) = folder.run.predictions(record)? else {
        return Ok(None);
    };
    let Outputs::Ranks { images, .. } = predictions.outputs else {
        return Ok(None);
    };
    let gain = |rank: usize| {
        if rank <= CUT {
            ((rank + 1) as f64).log2().recip()
        } else {
            0.0
        }
    };
    let ndcg = images.iter().map(|query| gain(query.rank)).sum::<f64>() / images.len() as f64;
    if !ndcg.is_finite() {
        return Ok(None);
    }
    let mut found = Map::new();
    found.insert(format!("ndcg_at_{CUT}"), rounded(ndcg));
    found.insert("main_score".into(), rounded(ndcg));
    for score in &record.metrics {
        if let Some(k) = score.metric.strip_prefix("image_recall@") {
            found.insert(format!("recall_at_{k}"), rounded(score.value));
        } else {
            let name = format!("{} {}", record.name(), score.metric);
            folder.leave_out(name, "mteb's nDCG needs the ranks of all five captions");
        }
    }
    Ok(Some(found))
}

/// Of six decimals, as mteb writes them.
fn rounded(value: f64) -> Value {
    ((value * 1e6).round() / 1e6).into()
}

fn revision_or<'a>(revision: &'a str, fingerprint: &'a str) -> &'a str {
    if revision.is_empty() {
        fingerprint
    } else {
        revision
    }
}

fn revision<'a>(group: &OfModel<'a>) -> &'a str {
    let record = group.records[0];
    revision_or(&record.model_revision, &record.model_fingerprint)
}

fn place(group: &OfModel) -> PathBuf {
    let name = group.model.joined("__");
    Path::new("results").join(name).join(revision(group))
}

/// Keys that mteb does not know are refused by it, and those that are not known here are null.
fn model_meta(group: &OfModel) -> Value {
    let parameters = group.records.iter().map(|record| record.parameters).max();
    let parameters = parameters.filter(|&count| count > 0);
    let mut meta: Map<String, Value> = [
        "loader",
        "release_date",
        "n_embedding_parameters",
        "memory_usage_mb",
        "max_tokens",
        "embed_dim",
        "license",
        "open_weights",
        "public_training_code",
        "public_training_data",
        "reference",
        "training_datasets",
        "adapted_from",
        "superseded_by",
        "citation",
        "contacts",
        "use_instructions",
    ]
    .into_iter()
    .map(|key| (key.to_owned(), Value::Null))
    .collect();
    for (key, value) in [
        ("name", group.model.joined("/").into()),
        ("revision", revision(group).into()),
        ("n_parameters", parameters.into()),
        ("languages", json!(["eng-Latn"])),
        ("framework", json!([])),
        ("modalities", json!(["image", "text"])),
        ("similarity_fn_name", "cosine".into()),
    ] {
        meta.insert(key.to_owned(), value);
    }
    meta.into()
}
