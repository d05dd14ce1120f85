//! Leaderboards for `make bench`: board CHECKPOINTS RECORDS | board CHECKPOINTS predictions
//!
//! The first makes records without predictions, some of them of tasks of nobody's; the second the
//! paper's 35 tasks with predictions over as many rows as they have.

use std::{env, fs, path::Path, time::Instant};

use flava_results::{
    MetricValue, Record, RunFolder,
    board::{Board, BoardOptions},
};
use flava_tasks::{Outputs, Predictions, Registry, Suite, Task, predictions::Ranked};
use serde_json::json;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [checkpoints, what] = &args[..] else {
        panic!("board CHECKPOINTS RECORDS|predictions")
    };
    let checkpoints: usize = checkpoints.parse().unwrap();
    let folder = env::temp_dir().join(format!("flava-board-{}", std::process::id()));
    let registry = Registry::built_in().unwrap();
    let tasks: Vec<&Task> = registry
        .tasks()
        .iter()
        .filter(|task| task.suite == Suite::Paper)
        .collect();
    let arguments: Vec<String> = (0..checkpoints)
        .map(|model| {
            let run = folder.join(format!("run-{model:03}"));
            fs::create_dir_all(run.join("predictions")).unwrap();
            match what.parse::<usize>() {
                Ok(records) => write_records(&run, model, &tasks, records),
                Err(_) => write_predictions(&run, model, &tasks),
            }
            run.display().to_string()
        })
        .collect();
    let start = Instant::now();
    let board = Board::read(&arguments, &BoardOptions::default()).unwrap();
    let text = board.markdown().unwrap() + &board.wide_csv() + &board.long_csv().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_dir_all(&folder).unwrap();
    let peak = memory("VmHWM:");
    println!(
        "{}",
        json!({ "seconds": seconds, "rows": board.rows.len(), "bytes": text.len(), "peak_mb": peak })
    );
}

fn memory(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

fn record(model: usize, task: &str, metrics: Vec<MetricValue>) -> Record {
    Record {
        task: task.to_owned(),
        task_version: 1,
        family: "vision".into(),
        protocol: "flava".into(),
        method: "linear_probe".into(),
        metrics,
        model: format!("model-{model:03}"),
        model_fingerprint: format!("{model:032}"),
        data_fingerprint: task.to_owned(),
        precision: "f32".into(),
        publishable: true,
        program: "flava 0.1.0".into(),
        date: "2026-01-31T12:00:00Z".into(),
        ..Record::default()
    }
}

fn score(metric: &str, value: f64, n: usize) -> MetricValue {
    MetricValue {
        metric: metric.to_owned(),
        split: "test".into(),
        value,
        standard_error: (value * (1.0 - value) / n as f64).sqrt(),
        ci_high: 1.0,
        interval: "wilson".into(),
        n,
        unit: "share".into(),
        higher_is_better: true,
        ..MetricValue::default()
    }
}

fn write(run: &Path, record: &Record) {
    let path = run.join(format!("{}.json", record.task));
    fs::write(path, record.to_file().unwrap()).unwrap();
}

fn write_records(run: &Path, model: usize, tasks: &[&Task], records: usize) {
    let own = (tasks.len()..records).map(|number| (format!("own-{number}"), "accuracy"));
    let of_suite = tasks
        .iter()
        .map(|task| (task.name.clone(), task.metrics[0].name()));
    for (number, (task, metric)) in of_suite.chain(own).take(records).enumerate() {
        let value = 0.5 + ((model * 31 + number * 17) % 97) as f64 / 300.0;
        write(run, &record(model, &task, vec![score(metric, value, 2000)]));
    }
}

/// Whether a model answers a row, the better ones more of them.
fn is_right(model: usize, row: usize) -> bool {
    let noise = (row.wrapping_mul(0x9E37_79B9) ^ model.wrapping_mul(0x85EB_CA6B)) % 1000;
    noise < 500 + model * 5
}

fn write_predictions(run: &Path, model: usize, tasks: &[&Task]) {
    for task in tasks {
        let rows = task.sources[0].test.rows.max(100);
        let retrieval = task.name.ends_with("-retrieval");
        let rank = |row: usize| Ranked {
            image: row,
            rank: if is_right(model, row) { 1 } else { 3 + row % 9 },
        };
        let classes = || Outputs::Classes {
            predicted: (0..rows)
                .map(|row| usize::from(is_right(model, row)))
                .collect(),
            gold: (0..rows).map(|row| usize::from(row % 3 > 0)).collect(),
            logits: None,
        };
        let (outputs, ids) = if retrieval {
            let captions = (0..rows * 5).map(|row| Ranked {
                image: row / 5,
                ..rank(row)
            });
            let texts = (0..rows).map(rank).collect();
            (
                Outputs::Ranks {
                    texts,
                    images: captions.collect(),
                },
                Vec::new(),
            )
        } else {
            (
                classes(),
                (0..rows).map(|row| format!("{row:07}")).collect(),
            )
        };
        let predictions = Predictions {
            ids,
            clusters: None,
            outputs,
        };
        let scores = if retrieval {
            vec![
                "text_recall@1",
                "text_recall@5",
                "image_recall@1",
                "image_recall@5",
            ]
        } else {
            vec![task.metrics[0].name()]
        };
        let path = RunFolder::predictions_in(run, &task.name, None);
        predictions.write(&path, &task.name).unwrap();
        let scores = scores
            .into_iter()
            .map(|metric| score(metric, 0.5 + model as f64 / 200.0, rows));
        write(run, &record(model, &task.name, scores.collect()));
    }
}
