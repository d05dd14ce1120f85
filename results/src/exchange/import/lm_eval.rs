//! `results_*.json` of the LM evaluation harness, and what is written like it.

use std::path::Path;

use flava_tasks::Registry;
use serde_json::{Map, Value};

use super::foreign::{ForeignScore, Imported, bad_key};
use crate::{Result, exchange::samples::metric_of};

/// Its names of metrics, and ours.
const METRICS: [[&str; 2]; 3] = [
    ["acc", "accuracy"],
    ["mcc", "matthews"],
    ["exact_match", "vqa_accuracy"],
];
/// Names of tasks that are no aliases of ours: of its fork for pictures.
const TASKS: [[&str; 2]; 1] = [["vqav2_val", "vqav2"]];
/// Keys of a task that are no metrics.
const OTHERS: [&str; 5] = ["alias", "name", "sample_len", "sample_count", "samples"];

pub(super) fn import(path: &Path, file: &Value) -> Result<Imported> {
    let results = object(path, file, "results")?;
    let registry = Registry::built_in()?;
    let mut imported = Imported::default();
    for (name, scores) in results {
        let key = format!("results.{name}");
        let scores = scores
            .as_object()
            .ok_or_else(|| bad_key(path, &key, "is no object"))?;
        if file["groups"].get(name).is_some() {
            imported.leave_out(name, "a mean over tasks");
            continue;
        }
        let Some(task) = our_task(&registry, name) else {
            imported.leave_out(name, "no task of ours");
            continue;
        };
        let of = TaskScores {
            path,
            file,
            name,
            task,
            scores,
        };
        of.import(&mut imported)?;
    }
    Ok(imported)
}

fn object<'a>(path: &Path, file: &'a Value, key: &str) -> Result<&'a Map<String, Value>> {
    let object = file[key].as_object();
    object.ok_or_else(|| bad_key(path, key, "is no object"))
}

/// Our task of its name: by ours, by an alias of ours, or by the table.
fn our_task(registry: &Registry, name: &str) -> Option<String> {
    let known = TASKS.iter().find(|[its, _]| *its == name);
    let name = known.map_or(name, |[_, own]| own);
    registry.get(name).map(|task| task.name.clone())
}

/// The scores of a task.
struct TaskScores<'a> {
    path: &'a Path,
    file: &'a Value,
    name: &'a str,
    task: String,
    scores: &'a Map<String, Value>,
}

impl TaskScores<'_> {
    fn import(&self, imported: &mut Imported) -> Result<()> {
        for (key, value) in self.scores {
            let (metric, filter) = key.split_once(',').unwrap_or((key, "none"));
            if OTHERS.contains(&metric) || metric.contains("_stderr") {
                continue;
            }
            let name = format!("{} {key}", self.name);
            match (our_metric(metric, &self.task), self.number(key, value)?) {
                (None, _) => imported.leave_out(name, "no metric of ours"),
                (_, None) => imported.leave_out(name, "it has no value"),
                (Some(_), Some(_)) if filter != "none" => {
                    imported.leave_out(name, format!("of answers filtered by {filter}"));
                }
                (Some(metric), Some(value)) => {
                    let error = format!("{}_stderr,{filter}", key.split(',').next().unwrap_or(key));
                    let standard_error = match self.scores.get(&error) {
                        Some(value) => self.number(&error, value)?,
                        None => None,
                    };
                    imported.add(ForeignScore {
                        model: model(self.file),
                        task: self.task.clone(),
                        metric,
                        value,
                        standard_error,
                        n: self.rows()?,
                        tool: "lm-eval".into(),
                        file: self.path.to_owned(),
                        foreign_task: self.name.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// A number; None where the file has "N/A", or Python's NaN, which is read as null.
    fn number(&self, key: &str, value: &Value) -> Result<Option<f64>> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) if text.trim().is_empty() || text.trim() == "N/A" => Ok(None),
            Value::Number(number) => Ok(number.as_f64()),
            _ => {
                let key = format!("results.{}.{key}", self.name);
                Err(bad_key(self.path, &key, "is no number"))
            }
        }
    }

    fn rows(&self) -> Result<Option<usize>> {
        match &self.file["n-samples"][self.name]["effective"] {
            Value::Null => Ok(None),
            count => {
                let key = format!("n-samples.{}.effective", self.name);
                let rows = count.as_u64().map(|count| count as usize);
                let rows = rows.ok_or_else(|| bad_key(self.path, &key, "is no count"))?;
                Ok(Some(rows))
            }
        }
    }
}

fn our_metric(metric: &str, task: &str) -> Option<String> {
    if metric == "exact_match" && task != "vqav2" {
        return None;
    }
    let known = METRICS.iter().find(|[its, _]| *its == metric);
    let name = known.map_or(metric, |[_, own]| own);
    metric_of(name).map(|metric| metric.name().to_owned())
}

/// The model: by its name, or by what it was loaded from.
fn model(file: &Value) -> String {
    let arguments = &file["config"]["model_args"];
    let pretrained = arguments["pretrained"].as_str().or_else(|| {
        let text = arguments.as_str()?;
        text.split(',')
            .find_map(|part| part.strip_prefix("pretrained="))
    });
    let name = file["model_name"].as_str().filter(|name| !name.is_empty());
    let kind = || file["config"]["model"].as_str();
    name.or(pretrained)
        .or_else(kind)
        .unwrap_or("unknown")
        .to_owned()
}
