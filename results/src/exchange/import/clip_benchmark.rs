//! A task's JSON of `CLIP_benchmark`, and the table that its `build` makes of many.

use std::path::Path;

use flava_tasks::Registry;
use serde_json::{Map, Value};

use super::foreign::{ForeignScore, Imported, bad_key};
use crate::{
    Error, Result,
    exchange::{
        datasets::{DATASETS, KnownDataset},
        samples::metric_of,
    },
};

/// Its names of metrics, and ours.
const METRICS: [[&str; 2]; 3] = [
    ["acc1", "accuracy"],
    ["acc5", "top5"],
    ["mean_per_class_recall", "mean_per_class"],
];
const RECALLS: [[&str; 2]; 2] = [
    ["image_retrieval_recall@", "image_recall@"],
    ["text_retrieval_recall@", "text_recall@"],
];
/// What stands among the metrics and is none.
const SETTINGS: [&str; 5] = ["weight_decay", "epochs", "seed", "fewshot_k", "normalized"];
/// Keys and columns beside the metrics.
const KEYS: [&str; 9] = [
    "dataset",
    "model",
    "pretrained",
    "task",
    "language",
    "metrics",
    "classnames",
    "templates",
    "model_fullname",
];
/// Datasets under further names: datacomp's.
const OTHER_NAMES: [[&str; 2]; 2] = [
    ["retrieval/flickr_1k_test_image_text_retrieval", "flickr30k"],
    [
        "retrieval/mscoco_2014_5k_test_image_text_retrieval",
        "mscoco_captions",
    ],
];

/// A result of one dataset and task.
struct ResultOf<'a> {
    path: &'a Path,
    dataset: &'a str,
    model: String,
    task: &'a str,
    language: &'a str,
}

pub(super) fn import_file(path: &Path, file: &Value) -> Result<Imported> {
    let text = |key: &str| {
        let text = file[key].as_str();
        text.ok_or_else(|| bad_key(path, key, "is no text"))
    };
    let metrics = file["metrics"].as_object();
    let metrics = metrics.ok_or_else(|| bad_key(path, "metrics", "is no object"))?;
    let result = ResultOf {
        path,
        dataset: text("dataset")?,
        model: format!("{} {}", text("model")?, text("pretrained")?),
        task: text("task")?,
        language: file["language"].as_str().unwrap_or("en"),
    };
    let mut imported = Imported::default();
    result.import(metrics, &mut imported)?;
    Ok(imported)
}

/// Reads the table; None where it has not its columns.
pub(super) fn import_table(path: &Path, text: &str) -> Result<Option<Imported>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let broken = |e: csv::Error| Error::file(path, e);
    let Ok(head) = reader.headers().cloned() else {
        return Ok(None);
    };
    let has = |key: &&str| head.iter().any(|column| column == *key);
    if !["dataset", "model", "pretrained", "task"].iter().all(has) {
        return Ok(None);
    }
    let mut imported = Imported::default();
    for row in reader.records() {
        let row = row.map_err(broken)?;
        let cell = |key: &str| {
            let at = head.iter().position(|column| column == key);
            at.and_then(|at| row.get(at)).unwrap_or_default()
        };
        let mut metrics = Map::new();
        for (key, value) in head.iter().zip(&row) {
            if KEYS.contains(&key) || value.is_empty() {
                continue;
            }
            let number = value.parse::<f64>().map_or(Value::from(value), Value::from);
            metrics.insert(key.to_owned(), number);
        }
        let result = ResultOf {
            path,
            dataset: cell("dataset"),
            model: format!("{} {}", cell("model"), cell("pretrained")),
            task: cell("task"),
            language: match cell("language") {
                "" => "en",
                language => language,
            },
        };
        result.import(&metrics, &mut imported)?;
    }
    Ok(Some(imported))
}

impl ResultOf<'_> {
    fn import(&self, metrics: &Map<String, Value>, imported: &mut Imported) -> Result<()> {
        let name = format!("{} {}", self.dataset, self.task);
        let shots = metrics.get("fewshot_k").and_then(Value::as_f64);
        let task = match self.our_task()? {
            None => {
                imported.leave_out(name, "no task of ours");
                return Ok(());
            }
            Some(_) if self.language != "en" => {
                imported.leave_out(name, format!("in the language {}", self.language));
                return Ok(());
            }
            Some(_) if shots.is_some_and(|shots| shots > 0.0) => {
                imported.leave_out(name, "a probe on a few rows of each class");
                return Ok(());
            }
            Some(task) => task,
        };
        for (key, value) in metrics {
            if SETTINGS.contains(&key.as_str()) {
                continue;
            }
            self.score(&task, key, imported, value)?;
        }
        Ok(())
    }

    fn score(&self, task: &str, key: &str, imported: &mut Imported, value: &Value) -> Result<()> {
        let name = format!("{} {key}", self.dataset);
        let Some(metric) = our_metric(key) else {
            imported.leave_out(name, "no metric of ours");
            return Ok(());
        };
        let value = match value {
            Value::Null => None,
            Value::Number(number) => number.as_f64(),
            _ => {
                let key = format!("metrics.{key}");
                return Err(bad_key(self.path, &key, "is no number"));
            }
        };
        match value {
            None => imported.leave_out(name, "it has no value"),
            Some(value) => imported.add(ForeignScore {
                model: self.model.clone(),
                task: task.to_owned(),
                n: self.rows(&metric),
                metric,
                value,
                standard_error: None,
                tool: "CLIP_benchmark".into(),
                file: self.path.to_owned(),
                foreign_task: self.dataset.to_owned(),
            }),
        }
        Ok(())
    }

    /// The dataset's usual name.
    fn key(&self) -> &str {
        let key = self.dataset.strip_prefix("wds/").unwrap_or(self.dataset);
        let other = OTHER_NAMES.iter().find(|[its, _]| *its == key);
        other.map_or(key, |[_, usual]| usual)
    }

    fn known(&self) -> Option<&'static KnownDataset> {
        DATASETS.iter().find(|dataset| dataset.key == self.key())
    }

    /// Rows or queries that a metric is over; captions are not counted here.
    fn rows(&self, metric: &str) -> Option<usize> {
        let known = self.known().filter(|_| !metric.starts_with("image_"));
        known.map(|dataset| dataset.rows)
    }

    /// Our task of the dataset and what was done; a dataset that it does not know may be called as
    /// a task of ours.
    fn our_task(&self) -> Result<Option<String>> {
        let known = self.known();
        let zero_shot = self.task == "zeroshot_classification";
        let name = match known {
            Some(dataset) if zero_shot => format!("{}-zero-shot", dataset.task),
            Some(dataset) => dataset.task.to_owned(),
            None => self.key().to_owned(),
        };
        let method = match self.task {
            "zeroshot_classification" => "zero_shot",
            "zeroshot_retrieval" => "retrieval",
            other => other,
        };
        let registry = Registry::built_in()?;
        let task = registry.get(&name);
        let task = task.filter(|task| task.method.name() == method);
        Ok(task.map(|task| task.name.clone()))
    }
}

fn our_metric(key: &str) -> Option<String> {
    let plain = key.strip_prefix("lp_").unwrap_or(key);
    let known = METRICS.iter().find(|[its, _]| *its == plain);
    let recall = || {
        RECALLS
            .iter()
            .find_map(|[its, own]| Some(format!("{own}{}", plain.strip_prefix(its)?)))
    };
    let name = known.map(|[_, own]| (*own).to_owned()).or_else(recall)?;
    metric_of(&name).map(|metric| metric.name().to_owned())
}
