//! `flava-eval compare`: two runs on the same rows, with what chance alone would do.

use flava_results::{Record, RunFolder, read_records};
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
    let only = second
        .iter()
        .map(Record::name)
        .filter(|name| !first.iter().any(|record| record.name() == *name));
    left_out.extend(only.map(|name| (name, "is in the second run only".to_owned())));
    if tasks.is_empty() {
        let reasons: Vec<String> = left_out
            .iter()
            .map(|(name, reason)| format!("{name}: {reason}"))
            .collect();
        return Err(Error::Other(format!(
            "the two runs have no task that can be compared: {}",
            reasons.join("; ")
        )));
    }
    let corrected = holm(
        &tasks
            .iter()
            .map(|task| task.difference.p)
            .collect::<Vec<_>>(),
    );
    tasks
        .iter_mut()
        .zip(corrected)
        .for_each(|(task, p)| task.p_corrected = p);
    Ok(Comparison { tasks, left_out })
}

fn compare_records(args: &CompareArgs, first: &Record, second: &Record) -> Result<Compared> {
    let same = |what: &str, a: &str, b: &str| {
        if a == b {
            Ok(())
        } else {
            Err(Error::Other(format!("its {what} differs: {a} and {b}")))
        }
    };
    same(
        "task version",
        &first.task_version.to_string(),
        &second.task_version.to_string(),
    )?;
    same("protocol", &first.protocol, &second.protocol)?;
    same("data", &first.data_fingerprint, &second.data_fingerprint)?;
    // Of several splits the mean comes first, which is over no rows of its own: the next is the
    // test split's.
    let main = first
        .metrics
        .iter()
        .find(|score| score.split == first.split)
        .unwrap_or_else(|| first.main());
    let value = |record: &Record| {
        record
            .metrics
            .iter()
            .find(|m| m.metric == main.metric && m.split == main.split)
            .map(|m| m.value)
    };
    let metric: Metric = serde_json::from_value(main.metric.clone().into())
        .map_err(|e| Error::Other(e.to_string()))?;
    let read = |folder: &std::path::Path, record: &Record| -> Result<Predictions> {
        let path = RunFolder::predictions_in(folder, &record.name(), None);
        let found = Predictions::read(&path)?.filter(|(_, of)| *of == record.task);
        Ok(found
            .ok_or_else(|| {
                Error::Other(format!(
                    "{}: holds no predictions of {}",
                    path.display(),
                    record.task
                ))
            })?
            .0)
    };
    let (predicted, others) = (read(&args.first, first)?, read(&args.second, second)?);
    let missing = || Error::Other(format!("the second run has no {}", main.metric));
    for (told, predictions) in [
        (main.value, &predicted),
        (value(second).ok_or_else(missing)?, &others),
    ] {
        let computed = metric.value(predictions, &first.task).unwrap_or(f64::NAN);
        if (computed - told).abs() > 1e-9 {
            return Err(Error::Other(format!(
                "its predictions give {computed}, its record says {told}: they are of different runs"
            )));
        }
    }
    let difference = metric.compare(&predicted, &others, &first.task)?;
    Ok(Compared {
        task: first.name(),
        metric: main.metric.clone(),
        first: main.value,
        second: value(second).ok_or_else(missing)?,
        difference,
        p_corrected: difference.p,
    })
}

impl Comparison {
    /// A line for each task.
    pub fn table(&self) -> String {
        let percent = |value: f64| format!("{:.1}", value * 100.0);
        let row = |task: &Compared| {
            let Difference {
                value,
                ci_low,
                ci_high,
                ..
            } = task.difference;
            vec![
                task.task.clone(),
                task.metric.clone(),
                percent(task.first),
                percent(task.second),
                format!("{:+.1}", value * 100.0),
                format!("{:+.1} to {:+.1}", ci_low * 100.0, ci_high * 100.0),
                format!("{:.4}", task.difference.p),
                format!("{:.4}", task.p_corrected),
                if task.p_corrected < 0.05 {
                    "differs"
                } else {
                    ""
                }
                .to_owned(),
            ]
        };
        let head = [
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
        let table = flava_results::rows_table(&head, self.tasks.iter().map(row), 2..8);
        let left_out = self
            .left_out
            .iter()
            .map(|(task, reason)| format!("not compared: {task}: {reason}"));
        std::iter::once(table)
            .chain(left_out)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
