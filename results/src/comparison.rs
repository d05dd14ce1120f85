//! Two runs on the same rows: differences with what chance alone would do, and the rows that one
//! of them got right and the other did not.

use std::collections::{HashMap, HashSet};

use flava_tasks::{
    Metric, Outputs, Predictions,
    metrics::{Difference, holm},
};
use rayon::prelude::*;

use crate::{MetricValue, Record, Run};

/// Rows whose answer changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flips {
    /// Ids of those that are better in the second run, by id.
    pub fixed: Vec<String>,
    /// Ids of those that are worse in it.
    pub broken: Vec<String>,
}

/// A task in both runs.
#[derive(Clone, Debug)]
pub struct ComparedTask {
    /// The task, and its variant.
    pub name: String,
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
    /// Rows whose answer changed; None where answers are neither right nor wrong.
    pub flips: Option<Flips>,
}

/// A task that is not compared.
#[derive(Clone, Debug)]
pub struct NotCompared {
    /// The task, and its variant.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Two runs.
#[derive(Clone, Debug, Default)]
pub struct RunsCompared {
    /// Tasks that both have, in the first's order.
    pub tasks: Vec<ComparedTask>,
    /// Tasks that are not compared.
    pub left_out: Vec<NotCompared>,
}

/// Compares the second run with the first; both have read their records.
pub fn compare_runs(first: &Run, second: &Run) -> RunsCompared {
    let others: HashMap<String, &Record> = second.records.iter().map(|r| (r.name(), r)).collect();
    let both = |record: &Record| {
        let name = record.name();
        let compared = match others.get(&name) {
            None => Err("is in the first run only".to_owned()),
            Some(other) => Sides {
                runs: [first, second],
                records: [record, other],
            }
            .compare(),
        };
        compared.map_err(|reason| NotCompared { name, reason })
    };
    let mut found = RunsCompared::default();
    let compared: Vec<_> = first.records.par_iter().map(both).collect();
    for one in compared {
        match one {
            Ok(task) => found.tasks.push(task),
            Err(reason) => found.left_out.push(reason),
        }
    }
    let known: HashSet<String> = first.records.iter().map(Record::name).collect();
    let only = second.records.iter().map(Record::name);
    let only = only.filter(|name| !known.contains(name));
    found.left_out.extend(only.map(|name| NotCompared {
        name,
        reason: "is in the second run only".to_owned(),
    }));
    let told: Vec<f64> = found.tasks.iter().map(|task| task.difference.p).collect();
    for (task, p) in found.tasks.iter_mut().zip(holm(&told)) {
        task.p_corrected = p;
    }
    found
}

/// A task of both runs.
struct Sides<'a> {
    runs: [&'a Run; 2],
    records: [&'a Record; 2],
}

impl Sides<'_> {
    fn compare(&self) -> Result<ComparedTask, String> {
        let [first, second] = self.records;
        self.check_same()?;
        let main = main_score(first);
        let is_same =
            |score: &&MetricValue| score.metric == main.metric && score.split == main.split;
        let other = second.metrics.iter().find(is_same);
        let other = other.ok_or_else(|| format!("the second run has no {}", main.metric))?;
        let metric: Metric = serde_json::from_value(main.metric.clone().into())
            .map_err(|_| format!("{} is no known metric", main.metric))?;
        let [a, b] = [self.predictions(0)?, self.predictions(1)?];
        for (told, predictions) in [(main.value, &a), (other.value, &b)] {
            check_told(told, metric.value(predictions, &first.task))?;
        }
        let difference = metric
            .compare(&a, &b, &first.task)
            .map_err(|e| e.to_string())?;
        Ok(ComparedTask {
            name: first.name(),
            metric: main.metric.clone(),
            first: main.value,
            second: other.value,
            difference,
            p_corrected: difference.p,
            flips: flips(metric, &a, &b),
        })
    }

    /// Both records are of the same rows of the same task.
    fn check_same(&self) -> Result<(), String> {
        let [first, second] = self.records;
        let versions = [first, second].map(|record| record.task_version.to_string());
        let pairs = [
            ("task version", versions.each_ref().map(String::as_str)),
            (
                "protocol",
                [&first.protocol, &second.protocol].map(String::as_str),
            ),
            (
                "data",
                [&first.data_fingerprint, &second.data_fingerprint].map(String::as_str),
            ),
        ];
        let differs = pairs.iter().find(|(_, [a, b])| a != b);
        differs.map_or(Ok(()), |(what, [a, b])| {
            Err(format!("its {what} differs: {a} and {b}"))
        })
    }

    fn predictions(&self, side: usize) -> Result<Predictions, String> {
        let read = self.runs[side].predictions(self.records[side]);
        let read = read.map_err(|error| error.to_string())?;
        let which = ["first", "second"][side];
        read.ok_or_else(|| format!("the {which} run has no predictions of it"))
    }
}

/// Of several splits the mean comes first, which is over no rows of its own: the next is the test
/// split's.
fn main_score(record: &Record) -> &MetricValue {
    let mut scores = record.metrics.iter();
    let own = scores.find(|score| score.split == record.split);
    own.unwrap_or_else(|| record.main())
}

/// A record's score is that of its predictions.
fn check_told(told: f64, computed: Option<f64>) -> Result<(), String> {
    let computed = computed.unwrap_or(f64::NAN);
    if (computed - told).abs() <= 1e-9 {
        return Ok(());
    }
    Err(format!(
        "its predictions give {computed}, its record says {told}: they are of different runs"
    ))
}

/// Rows that count more in one run than in the other; of a metric that is no mean over rows, those
/// that are right in one alone.
fn flips(metric: Metric, first: &Predictions, second: &Predictions) -> Option<Flips> {
    let rows = |predictions: &Predictions| {
        let own = metric.per_row(predictions);
        own.or_else(|| Metric::Accuracy.per_row(predictions))
    };
    let (a, b) = (rows(first)?, rows(second)?);
    let ids = if matches!(first.outputs, Outputs::Ranks { .. }) {
        (0..a.len()).map(|query| format!("query {query}")).collect()
    } else {
        first.ids.clone()
    };
    let places: HashMap<&str, usize> = second
        .ids
        .iter()
        .enumerate()
        .map(|(place, id)| (id.as_str(), place))
        .collect();
    let mut flips = Flips::default();
    for (row, (id, a)) in ids.iter().zip(&a).enumerate() {
        let place = if places.is_empty() {
            Some(row)
        } else {
            places.get(id.as_str()).copied()
        };
        match place.and_then(|place| b.get(place)) {
            Some(b) if b > a => flips.fixed.push(id.clone()),
            Some(b) if b < a => flips.broken.push(id.clone()),
            _ => {}
        }
    }
    flips.fixed.sort();
    flips.broken.sort();
    Some(flips)
}
