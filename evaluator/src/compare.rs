//! `flava-eval compare`: two runs on the same rows, with what chance alone would do.

use std::{collections::BTreeMap, path::Path};

use flava_results::{ComparedTask, Run, RunsCompared, compare_runs, read_records};
use flava_tasks::metrics::Difference;
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
    let RunsCompared { tasks, left_out } = compare_runs(&read(&args.first)?, &read(&args.second)?);
    let left_out: Vec<(String, String)> = left_out
        .into_iter()
        .map(|task| (task.name, task.reason))
        .collect();
    if tasks.is_empty() {
        return Err(nothing_compared(&left_out));
    }
    let tasks = tasks.into_iter().map(Compared::from).collect();
    Ok(Comparison { tasks, left_out })
}

fn read(folder: &Path) -> Result<Run> {
    Ok(Run {
        folder: folder.to_owned(),
        records: read_records(folder)?,
        status: BTreeMap::new(),
    })
}

impl From<ComparedTask> for Compared {
    fn from(task: ComparedTask) -> Self {
        Self {
            task: task.name,
            metric: task.metric,
            first: task.first,
            second: task.second,
            difference: task.difference,
            p_corrected: task.p_corrected,
        }
    }
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
