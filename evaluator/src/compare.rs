//! `flava-eval compare`: two runs on the same rows, with what chance alone would do.

use std::path::Path;

use flava_results::{MetricValue, Record, RunFolder, read_records};
use flava_tasks::{
    Metric, Predictions,
    metrics::{Difference, holm},
};
use serde::Serialize;

use crate::{Error, Result, args::CompareArgs};

/// One metric of one task in both runs.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// The task, and its variant.
    pub task: String,
    /// The metric: the task's main one.
    pub metric: String,
    /// The first run's value.
    pub first: f64,
    /// The second run's.
    pub second: f64,
    /// The second less the first.
    pub difference: Difference,
    /// The probability corrected for the number of tasks (Holm).
    pub p_corrected: f64,
}

/// Two runs.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Tasks that both have.
    pub tasks: Vec<Compared>,
    /// Tasks that are not compared, and why.
    pub left_out: Vec<(String, String)>,
}

/// Compares the runs of two folders.
pub fn compare(args: &CompareArgs) -> Result<Comparison> {
    let (first, second) = (read_records(&args.first)?, read_records(&args.second)?);
    let (mut tasks, mut left_out) = (Vec::new(), Vec::new());
    for record in &first {
        let name = record.name();
        let Some(other) = second.iter().find(|other| other.name() == name) else {
            left_out.push((name, "is in the first run only".to_owned()));
            continue;
        };
        match compare_records(args, record, other) {
            Ok(compared) => tasks.push(compared),
            Err(error) => left_out.push((name, error.to_string())),
        }
    }
    for name in second.iter().map(Record::name) {
        if !first.iter().any(|record| record.name() == name) {
            left_out.push((name, "is in the second run only".to_owned()));
        }
    }
    if tasks.is_empty() {
        return Err(nothing_compared(&left_out));
    }
    correct(&mut tasks);
    Ok(Comparison { tasks, left_out })
}

fn nothing_compared(left_out: &[(String, String)]) -> Error {
    let reason = |(name, reason): &(String, String)| format!("{name}: {reason}");
    let reasons: Vec<String> = left_out.iter().map(reason).collect();
    let reasons = reasons.join("; ");
    Error::Lacking {
        what: "task to compare",
        reason: format!("the two runs have no task that can be compared: {reasons}"),
    }
}

/// Probabilities corrected for the number of tasks.
fn correct(tasks: &mut [Compared]) {
    let told: Vec<f64> = tasks.iter().map(|task| task.difference.p).collect();
    for (task, p) in tasks.iter_mut().zip(holm(&told)) {
        task.p_corrected = p;
    }
}

fn compare_records(args: &CompareArgs, first: &Record, second: &Record) -> Result<Compared> {
    check_same(first, second)?;
    let main = main_score(first);
    let metric: Metric = serde_json::from_value(main.metric.clone().into())?;
    let predicted = read_predictions(&args.first, first)?;
    let others = read_predictions(&args.second, second)?;
    let is_same = |score: &&MetricValue| score.metric == main.metric && score.split == main.split;
    let none = || Error::Lacking {
        what: "metric",
        reason: format!("the second run has no {}", main.metric),
    };
    let other = second.metrics.iter().find(is_same).ok_or_else(none)?;
    check_told(main.value, metric.value(&predicted, &first.task))?;
    check_told(other.value, metric.value(&others, &first.task))?;
    let difference = metric.compare(&predicted, &others, &first.task)?;
    Ok(Compared {
        task: first.name(),
        metric: main.metric.clone(),
        first: main.value,
        second: other.value,
        difference,
        p_corrected: difference.p,
    })
}

/// A record's score is that of its predictions.
fn check_told(told: f64, computed: Option<f64>) -> Result<()> {
    let computed = computed.unwrap_or(f64::NAN);
    if (computed - told).abs() > 1e-9 {
        return Err(Error::Mismatch {
            what: "score",
            reason: format!(
                "its predictions give {computed}, its record says {told}: they are of different runs"
            ),
        });
    }
    Ok(())
}

/// Both records are of the same rows of the same task.
fn check_same(first: &Record, second: &Record) -> Result<()> {
    let same = |what: &'static str, a: &str, b: &str| {
        if a == b {
            return Ok(());
        }
        let reason = format!("its {what} differs: {a} and {b}");
        Err(Error::Mismatch { what, reason })
    };
    same(
        "task version",
        &first.task_version.to_string(),
        &second.task_version.to_string(),
    )?;
    same("protocol", &first.protocol, &second.protocol)?;
    same("data", &first.data_fingerprint, &second.data_fingerprint)
}

/// Of several splits the mean comes first, which is over no rows of its own: the next is the test
/// split's.
fn main_score(record: &Record) -> &MetricValue {
    record
        .metrics
        .iter()
        .find(|score| score.split == record.split)
        .unwrap_or_else(|| record.main())
}

fn read_predictions(folder: &Path, record: &Record) -> Result<Predictions> {
    let path = RunFolder::predictions_in(folder, &record.name(), None);
    match Predictions::read(&path)? {
        Some((predictions, of)) if of == record.task => Ok(predictions),
        _ => Err(Error::Mismatch {
            what: "task",
            reason: format!(
                "{}: holds no predictions of {}",
                path.display(),
                record.task
            ),
        }),
    }
}

/// What the columns of the table are called.
const HEAD: [&str; 9] = [
    "task",
    "metric",
    "A",
    "B",
    "B - A",
    "95 % interval",
    "p",
    "p of all",
    "",
];

impl Compared {
    /// A row of the table.
    fn row(&self) -> Vec<String> {
        let percent = |value: f64| format!("{:.1}", value * 100.0);
        let signed = |value: f64| format!("{:+.1}", value * 100.0);
        let Difference {
            value,
            ci_low,
            ci_high,
            p,
            ..
        } = self.difference;
        let differs = self.p_corrected < 0.05;
        vec![
            self.task.clone(),
            self.metric.clone(),
            percent(self.first),
            percent(self.second),
            signed(value),
            format!("{} to {}", signed(ci_low), signed(ci_high)),
            format!("{p:.4}"),
            format!("{:.4}", self.p_corrected),
            if differs { "differs" } else { "" }.to_owned(),
        ]
    }
}

impl Comparison {
    /// A line for each task.
    pub fn table(&self) -> String {
        let rows = self.tasks.iter().map(Compared::row);
        let mut lines = vec![flava_results::rows_table(&HEAD, rows, 2..8)];
        for (task, reason) in &self.left_out {
            lines.push(format!("not compared: {task}: {reason}"));
        }
        lines.join("\n")
    }
}
