//! Runs that were never run, for tests: the 35 tasks of the paper with predictions of every kind.

use std::{fs, path::Path, sync::Arc};

use flava_base::stream;
use flava_results::{MetricValue, Published, Record, Run, State, Status, published};
use flava_tasks::{
    Metric, Outputs, Predictions,
    predictions::{Logits, Ranked},
};
use rand::Rng;
use serde_json::{Map, Value, json};

/// What a made-up task is like.
pub struct Made<'a> {
    pub task: &'a str,
    pub metric: Metric,
    pub method: &'a str,
    pub classes: usize,
    pub rows: usize,
    /// Share of right answers, about.
    pub right: f64,
    pub seed: u64,
}

/// A record of a task, with one score.
pub fn record(task: &str) -> Record {
    let score = MetricValue {
        metric: "accuracy".into(),
        split: "test".into(),
        value: 0.3,
        standard_error: 0.1,
        ci_low: 0.1,
        ci_high: 0.5,
        interval: "wilson".into(),
        n: 9,
        unit: "share".into(),
        higher_is_better: true,
    };
    let value = json!({
        "task": task, "task_version": 1, "family": "vision", "protocol": "flava",
        "method": "linear_probe", "feature": "image_cls", "split": "test", "metrics": [score],
        "chance": 0.1, "train_rows": 4, "skipped": 0, "model": "a model", "model_fingerprint": "00",
        "data": "x/y", "data_revision": "", "data_fingerprint": "11", "transform": "t",
        "precision": "f32", "device": "cpu", "seed": 0, "publishable": true, "notes": [],
        "details": {}, "program": "flava 0.1.0", "commit": "debug",
        "date": "2026-01-31T12:00:00Z", "seconds": 1.5,
    });
    serde_json::from_value(value).unwrap()
}

fn is_averaged(cell: &Published) -> bool {
    cell.table == "Table 4" && cell.column == "FLAVA" && !cell.task.starts_with("average")
}

/// The paper's 35 tasks with about the paper's scores, and one that failed.
pub fn paper_run(folder: &Path, rows: usize, seed: u64) -> Run {
    fs::create_dir_all(folder.join("predictions")).unwrap();
    let mut run = Run {
        folder: folder.to_owned(),
        records: Vec::new(),
        status: [].into(),
    };
    for cell in published().iter().filter(|cell| is_averaged(cell)) {
        if run.records.iter().any(|record| record.task == cell.task) {
            continue;
        }
        let metric = serde_json::from_value(cell.metric.clone().into()).unwrap();
        let made = Made {
            task: &cell.task,
            metric,
            method: method(&cell.task),
            classes: classes(&cell.task),
            rows,
            right: cell.value / 100.0,
            seed,
        };
        add(&mut run, &made);
    }
    fail(&mut run, "my-task", "data <b>missing</b>");
    run
}

/// Adds a task, its predictions and its status.
pub fn add(run: &mut Run, made: &Made) {
    let predictions = made.predictions();
    let mut record = made.record(&predictions);
    record.details = made.details();
    let path = run
        .folder
        .join("predictions")
        .join(format!("{}.parquet", record.name()));
    predictions.write(&path, &record.task).unwrap();
    let status = Status {
        suite: "vision".into(),
        state: State::Done,
        reason: String::new(),
        since: "2026-01-31T12:00:00Z".into(),
    };
    run.status.insert(record.name(), status);
    run.records.push(record);
}

/// Adds a task that failed.
pub fn fail(run: &mut Run, task: &str, reason: &str) {
    let status = Status {
        suite: "vision".into(),
        state: State::Failed,
        reason: reason.into(),
        since: "2026-01-31T12:00:00Z".into(),
    };
    run.status.insert(task.into(), status);
}

fn method(task: &str) -> &'static str {
    match task {
        _ if task.ends_with("-retrieval") => "retrieval",
        _ if task.starts_with("glue-") => "fine_tune",
        "vqav2" | "snli-ve" | "hateful-memes" => "fine_tune",
        "food101" => "zero_shot",
        "cifar10" => "few_shot",
        "cifar100" => "knn",
        _ => "linear_probe",
    }
}

fn classes(task: &str) -> usize {
    match task {
        "imagenet" => 1000,
        "food101" => 101,
        "cifar10" | "mnist" => 10,
        _ if task.starts_with("glue-") => 2,
        "hateful-memes" => 2,
        _ => 37,
    }
}

impl Made<'_> {
    fn predictions(&self) -> Predictions {
        let mut rng = stream(self.seed, self.task);
        let ids: Vec<String> = (0..self.rows)
            .map(|row| format!("{}-{row}", self.task))
            .collect();
        let outputs = match (self.method, self.metric) {
            ("retrieval", _) => self.ranks(&mut rng),
            (_, Metric::VqaAccuracy) => self.answers(&mut rng),
            (_, Metric::Pearson | Metric::Spearman) => Outputs::Values {
                predicted: (0..self.rows).map(|_| rng.random_range(0.0..5.0)).collect(),
                gold: (0..self.rows).map(|row| (row % 6) as f64).collect(),
            },
            _ => self.classes(&mut rng, &ids),
        };
        let ids = if self.method == "retrieval" {
            Vec::new()
        } else {
            ids
        };
        Predictions {
            ids,
            clusters: None,
            outputs,
        }
    }

    fn classes(&self, rng: &mut impl Rng, ids: &[String]) -> Outputs {
        let gold: Vec<usize> = (0..self.rows).map(|row| row % self.classes).collect();
        let mut values = vec![0f32; self.rows * self.classes];
        for (row, gold) in gold.iter().enumerate() {
            let other = (gold + rng.random_range(1..self.classes)) % self.classes;
            let is_right = rng.random_bool(self.right);
            let class = if is_right { *gold } else { other };
            values[row * self.classes + class] = rng.random_range(0.5f32..6.0);
        }
        let logits = Logits::new(values, self.classes, ids).unwrap();
        Outputs::Classes {
            predicted: logits.best(),
            gold,
            logits: Some(logits),
        }
    }

    fn ranks(&self, rng: &mut impl Rng) -> Outputs {
        let mut rank = |image: usize| Ranked {
            image,
            rank: if rng.random_bool(self.right) {
                1
            } else {
                rng.random_range(2..60)
            },
        };
        Outputs::Ranks {
            texts: (0..self.rows).map(&mut rank).collect(),
            images: (0..5 * self.rows).map(|row| rank(row / 5)).collect(),
        }
    }

    fn answers(&self, rng: &mut impl Rng) -> Outputs {
        let words = ["yes", "no", "two", "<b>red</b>"];
        let gold = |row: usize| -> Arc<[Arc<str>]> { vec![Arc::from(words[row % 4]); 10].into() };
        let predicted = |row: usize| {
            let is_right = rng.random_bool(self.right);
            words[(row + usize::from(!is_right)) % 4].to_owned()
        };
        Outputs::Answers {
            predicted: (0..self.rows).map(predicted).collect(),
            gold: (0..self.rows).map(gold).collect(),
        }
    }

    fn record(&self, predictions: &Predictions) -> Record {
        let metrics: &[Metric] = if self.method == "retrieval" {
            &[
                Metric::TextRecall1,
                Metric::TextRecall5,
                Metric::ImageRecall1,
                Metric::ImageRecall5,
            ]
        } else {
            &[self.metric]
        };
        let score = |metric: &Metric| {
            let score = metric.score(predictions, self.task).unwrap();
            MetricValue {
                metric: metric.name().into(),
                split: "test".into(),
                value: score.value,
                standard_error: score.standard_error,
                ci_low: score.ci_low,
                ci_high: score.ci_high,
                interval: "wilson".into(),
                n: score.n,
                unit: metric.unit().into(),
                higher_is_better: true,
            }
        };
        Record {
            metrics: metrics.iter().map(score).collect(),
            method: self.method.into(),
            chance: 1.0 / self.classes.max(2) as f64,
            model: "facebook/flava-full".into(),
            model_revision: "0123456789abcdef".into(),
            model_fingerprint: format!("{:032x}", self.seed + 1),
            data_fingerprint: format!("{}-{}", self.task, self.rows),
            ..record(self.task)
        }
    }

    fn details(&self) -> Map<String, Value> {
        let details = match self.method {
            "linear_probe" => json!({
                "penalty": 1.0,
                "chosen_by": "accuracy",
                "search": (-6..=6).map(|power: i32| json!({
                    "penalty": 10f64.powi(power),
                    "score": self.right - 0.01 * f64::from(power.abs()),
                    "converged": power != -6,
                    "iterations": 30,
                })).collect::<Vec<_>>(),
                "held_out": { "ids": (0..300).map(|id| format!("train-{id}")).collect::<Vec<_>>() },
            }),
            "few_shot" => json!({ "accuracy_by_shots": {
                "1": { "median": 0.3, "lowest": 0.2, "highest": 0.4 },
                "16": { "median": 0.8, "lowest": 0.75, "highest": 0.85 },
            } }),
            "knn" => json!({ "accuracy_by_k": { "10": 0.51, "20": 0.5, "200": 0.45 } }),
            "zero_shot" => json!({ "class_order": {
                "accuracy": 0.88, "shuffled": 0.01, "gap": 0.87, "orders": 20, "orders_as_good": 0,
            } }),
            _ if self.metric == Metric::VqaAccuracy => json!({ "slices": {
                "number": { "vqa_accuracy": 0.5, "ci_low": 0.45, "ci_high": 0.55, "n": 300 },
                "yes/no": { "vqa_accuracy": 0.85, "ci_low": 0.8, "ci_high": 0.9, "n": 400 },
            } }),
            _ => json!({}),
        };
        details.as_object().cloned().unwrap_or_default()
    }
}
