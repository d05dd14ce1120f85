//! `results_DATE.json`.

use flava_tasks::Metric;
use serde_json::{Map, Value, json};

use crate::{
    Average, Record, averages,
    averages::averaged_tasks,
    exchange::{model_name::ModelName, parts::Part, samples::metric_of, times::first_start},
};

/// A model's results.
pub(super) struct ModelResults<'a> {
    pub(super) model: &'a ModelName,
    pub(super) records: &'a [&'a Record],
    pub(super) parts: &'a [Part<'a>],
    /// Digests of the parts' samples.
    pub(super) hashes: &'a [Option<String>],
}

/// All that the harness and its readers look for; of a group only whole averages.
pub(super) fn results(of: &ModelResults) -> Value {
    let by_name = |tell: &dyn Fn(&Part) -> Value| -> Map<String, Value> {
        let parts = of.parts.iter();
        parts.map(|part| (part.name.clone(), tell(part))).collect()
    };
    let mut file = json!({
        "configs": by_name(&config),
        "versions": by_name(&|part| part.record.task_version.into()),
        "n-shot": by_name(&|_| 0.into()),
        "higher_is_better": by_name(&higher_is_better),
        "n-samples": by_name(&sample_counts),
        "config": model_config(of),
        "date": first_start(of.records),
        "git_hash": of.records[0].commit,
        "model_name": of.model.joined("/"),
        "model_source": source(of.records[0]),
        "total_evaluation_time_seconds": seconds(of.records).to_string(),
        "task_hashes": task_hashes(of),
    });
    let mut results = by_name(&scores);
    let (groups, members) = groups(of.records);
    results.extend(groups.clone());
    file["results"] = results.into();
    if !groups.is_empty() {
        file["groups"] = groups.into();
        file["group_subtasks"] = members.into();
    }
    file
}

/// The program as a source of results; its version is the last word of what records say.
fn source(record: &Record) -> String {
    let version = record.program.rsplit(' ').next().unwrap_or_default();
    format!("flava-eval {version}")
}

fn seconds(records: &[&Record]) -> f64 {
    records.iter().map(|record| record.seconds).sum()
}

fn task_hashes(of: &ModelResults) -> Map<String, Value> {
    let all = of.parts.iter().zip(of.hashes);
    all.filter_map(|(part, hash)| Some((part.name.clone(), hash.clone()?.into())))
        .collect()
}

/// Scores by `METRIC,none`: there are no filters.
fn scores(part: &Part) -> Value {
    let mut scores = json!({
        "name": part.name,
        "alias": part.name,
        "sample_len": part.metrics[0].n,
    });
    for score in &part.metrics {
        scores[format!("{},none", score.metric)] = score.value.into();
        scores[format!("{}_stderr,none", score.metric)] = score.standard_error.into();
    }
    scores
}

fn higher_is_better(part: &Part) -> Value {
    let metrics = part.metrics.iter();
    metrics
        .map(|score| (score.metric.clone(), score.higher_is_better.into()))
        .collect::<Map<String, Value>>()
        .into()
}

fn sample_counts(part: &Part) -> Value {
    let scored = part.metrics[0].n;
    let all = if part.first { part.record.rows_of } else { 0 };
    json!({ "original": all.max(scored), "effective": scored })
}

/// What a task was, with the whole state of its record: a reader sees there whether it may be
/// published.
fn config(part: &Part) -> Value {
    let record = part.record;
    let metric = |score: &&crate::MetricValue| {
        let mean = metric_of(&score.metric).is_some_and(is_mean);
        json!({
            "metric": score.metric,
            "aggregation": if mean { "mean" } else { score.metric.as_str() },
            "higher_is_better": score.higher_is_better,
        })
    };
    let kind = match record.hub_task.as_str() {
        "" => record.method.as_str(),
        task if task.ends_with("classification") => "multiple_choice",
        task => task,
    };
    json!({
        "task": part.name,
        "dataset_path": record.data,
        "test_split": part.split,
        "output_type": kind,
        "metric_list": part.metrics.iter().map(metric).collect::<Vec<Value>>(),
        "num_fewshot": 0,
        "metadata": metadata(record),
    })
}

/// Whether it is a mean over rows.
fn is_mean(metric: Metric) -> bool {
    !matches!(
        metric,
        Metric::MeanPerClass
            | Metric::Matthews
            | Metric::F1
            | Metric::AccuracyF1Mean
            | Metric::Pearson
            | Metric::Spearman
            | Metric::RocAuc
    )
}

fn metadata(record: &Record) -> Value {
    json!({
        "version": record.task_version,
        "method": record.method,
        "feature": record.feature,
        "protocol": record.protocol,
        "publishable": record.publishable,
        "departures": record.departures,
        "mismatches": record.mismatches,
        "notes": record.notes,
        "chance": record.chance,
        "train_rows": record.train_rows,
        "skipped": record.skipped,
        "seed": record.seed,
        "parameters": record.parameters,
        "data_revision": record.data_revision,
        "data_fingerprint": record.data_fingerprint,
        "transform": record.transform,
        "precision": record.precision,
        "device": record.device,
        "initialisation": record.initialisation,
        "recipe": record.recipe,
        "recipe_digest": record.recipe_digest,
    })
}

/// What all tasks share; what they do not is in each one's metadata.
fn model_config(of: &ModelResults) -> Value {
    let record = of.records[0];
    let mut config = json!({
        "model": "flava",
        "model_args": { "pretrained": of.model.joined("/") },
        "model_revision": record.model_revision,
        "model_sha": record.model_fingerprint,
    });
    let dtype = match record.precision.as_str() {
        "f32" => "float32",
        "bf16" => "bfloat16",
        "f16" => "float16",
        other => other,
    };
    let shared = |read: &dyn Fn(&Record) -> Value| {
        let first = read(record);
        let same = of.records.iter().all(|other| read(other) == first);
        same.then_some(first)
    };
    if shared(&|r| r.precision.clone().into()).is_some() {
        config["model_dtype"] = dtype.into();
    }
    for (key, value) in [
        ("device", shared(&|r| r.device.clone().into())),
        ("random_seed", shared(&|r| r.seed.into())),
        ("model_num_parameters", shared(&|r| r.parameters.into())),
    ] {
        if let Some(value) = value.filter(|value| key != "model_num_parameters" || *value != 0) {
            config[key] = value;
        }
    }
    config
}

/// The paper's averages that are whole, and the tasks that each is over.
fn groups(records: &[&Record]) -> (Map<String, Value>, Map<String, Value>) {
    let records: Vec<Record> = records.iter().map(|&record| record.clone()).collect();
    let (mut groups, mut members) = (Map::new(), Map::new());
    for average in averages(&records) {
        let Average {
            value: Some(value),
            standard_error: Some(error),
            ..
        } = average
        else {
            continue;
        };
        let name = format!("average-{}", average.group);
        let scores = json!({
            "name": name,
            "alias": name,
            "sample_count": { "none": average.of },
            "mean,none": value,
            "mean_stderr,none": error,
        });
        groups.insert(name.clone(), scores);
        members.insert(name, averaged_tasks(average.group, &records).into());
    }
    (groups, members)
}
