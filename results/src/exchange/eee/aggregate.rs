//! The file of an evaluation: its model, its data and a result for each metric.

use serde_json::{Map, Value, json};

use crate::{
    MetricValue, Record,
    exchange::{datasets::is_on_the_hub, model_name::ModelName, parts::Part},
};

/// The format's version.
pub(super) const SCHEMA: &str = "0.3.0";
/// Share of the intervals.
const LEVEL: f64 = 0.95;

/// An evaluation.
pub(super) struct Evaluation<'a> {
    pub(super) part: &'a Part<'a>,
    pub(super) id: String,
    pub(super) model: &'a ModelName,
    /// When it ended.
    pub(super) time: f64,
}

pub(super) fn aggregate(evaluation: &Evaluation) -> Value {
    let record = evaluation.part.record;
    let version = record.program.rsplit(' ').next().unwrap_or_default();
    let metrics = evaluation.part.metrics.iter();
    let results: Vec<Value> = metrics.map(|score| result(evaluation, score)).collect();
    let time = evaluation.time.to_string();
    json!({
        "schema_version": SCHEMA,
        "evaluation_id": evaluation.id,
        "evaluation_timestamp": time,
        "retrieved_timestamp": time,
        "source_metadata": {
            "source_name": "flava-eval",
            "source_type": "evaluation_run",
            "source_organization_name": "not stated",
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "flava-eval",
            "version": version,
            "additional_details": { "commit": record.commit },
        },
        "model_info": model_info(evaluation),
        "evaluation_results": results,
    })
}

fn model_info(evaluation: &Evaluation) -> Value {
    let record = evaluation.part.record;
    let model = evaluation.model;
    let open = if model.on_hub {
        "open_weights"
    } else {
        "unknown"
    };
    json!({
        "name": model.name,
        "id": model.joined("/"),
        "developer": model.owner,
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": open,
            "revision": record.model_revision,
            "fingerprint": record.model_fingerprint,
            "precision": record.precision,
            "device": record.device,
            "initialisation": record.initialisation,
        },
    })
}

/// The id of a metric's result.
pub(super) fn result_id(part: &Part, metric: &str) -> String {
    format!("{}/{metric}", part.name)
}

fn result(evaluation: &Evaluation, score: &MetricValue) -> Value {
    let part = evaluation.part;
    let correlation = score.unit == "correlation";
    json!({
        "evaluation_result_id": result_id(part, &score.metric),
        "evaluation_name": part.name,
        "source_data": source_data(part),
        "metric_config": {
            "metric_id": score.metric,
            "metric_name": score.metric,
            "metric_unit": if correlation { "correlation" } else { "proportion" },
            "lower_is_better": !score.higher_is_better,
            "score_type": "continuous",
            "min_score": if correlation { -1 } else { 0 },
            "max_score": 1,
        },
        "score_details": {
            "score": score.value,
            "details": details(part.record),
            "uncertainty": {
                "standard_error": {
                    "value": score.standard_error,
                    "method": error_method(&score.interval),
                },
                "confidence_interval": {
                    "lower": score.ci_low,
                    "upper": score.ci_high,
                    "confidence_level": LEVEL,
                    "method": score.interval,
                },
                "num_samples": score.n,
            },
        },
    })
}

fn error_method(interval: &str) -> &'static str {
    if interval == "bootstrap" {
        "bootstrap"
    } else {
        "analytic"
    }
}

/// What else a record says; the format wants text.
fn details(record: &Record) -> Map<String, Value> {
    let told = [
        ("task_version", record.task_version.to_string()),
        ("variant", record.variant.clone()),
        ("protocol", record.protocol.clone()),
        ("method", record.method.clone()),
        ("feature", record.feature.clone()),
        ("publishable", record.publishable.to_string()),
        ("departures", record.departures.join("; ")),
        ("mismatches", record.mismatches.join("; ")),
        ("notes", record.notes.join("; ")),
        ("chance", record.chance.to_string()),
        ("train_rows", record.train_rows.to_string()),
        ("skipped", record.skipped.to_string()),
        ("seed", record.seed.to_string()),
        ("transform", record.transform.clone()),
        ("recipe", record.recipe.clone()),
        ("recipe_digest", record.recipe_digest.clone()),
        ("key", record.key.clone()),
    ];
    let told = told.into_iter().filter(|(_, text)| !text.is_empty());
    told.map(|(key, text)| (key.to_owned(), text.into()))
        .collect()
}

fn source_data(part: &Part) -> Value {
    let record = part.record;
    let mut source = json!({
        "dataset_name": record.data,
        "source_type": "other",
        "additional_details": {
            "revision": record.data_revision,
            "fingerprint": record.data_fingerprint,
        },
    });
    if is_on_the_hub(record) {
        source["source_type"] = "hf_dataset".into();
        source["hf_repo"] = record.data.clone().into();
        source["hf_split"] = part.split.into();
        source["samples_number"] = part.metrics[0].n.into();
    }
    source
}
