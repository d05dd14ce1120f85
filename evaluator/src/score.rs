//! From predictions to a record's scores; and `flava-eval score`, which does it for files.

use flava_results::MetricValue;
use flava_tasks::{
    Assignment, Metric, Predictions, Protocol, Score, Task, predictions::Foreign, select,
};

use crate::{DataLocator, Error, Result, args::ScoreArgs, data::OpenTask, plan::registry_of};

/// The scores of predictions on one split.
pub(crate) fn scores(
    metrics: &[Metric],
    predictions: &Predictions,
    task: &str,
    split: &str,
) -> Vec<MetricValue> {
    metrics
        .iter()
        .filter_map(|metric| Some(value(*metric, metric.score(predictions, task)?, split)))
        .collect()
}

/// The scores on two splits, each, after their means: MNLI's matched and mismatched sets.
///
/// # Errors
/// If the main one is not defined on one of them.
pub(crate) fn scores_of_all(
    metrics: &[Metric],
    predictions: &[(String, Predictions)],
    task: &str,
) -> Result<Vec<MetricValue>> {
    let each: Vec<Vec<MetricValue>> = predictions
        .iter()
        .map(|(split, predictions)| scores(metrics, predictions, task, split))
        .collect();
    let lacking = each.iter().position(|scores| !has_main(scores, metrics));
    if let Some(lacking) = lacking {
        let split = &predictions[lacking].0;
        return Err(Error::Undefined {
            metric: metrics[0],
            reason: format!("is not defined of the answers to split {split}"),
        });
    }
    let [first, second] = &each[..] else {
        return Ok(each.into_iter().flatten().collect());
    };
    let mean = |metric: &Metric| {
        Some(mean_of(
            score_of(first, *metric)?,
            score_of(second, *metric)?,
        ))
    };
    let mut all: Vec<MetricValue> = metrics.iter().filter_map(mean).collect();
    all.extend(each.iter().flatten().cloned());
    Ok(all)
}

/// Whether the task's main metric is defined.
fn has_main(scores: &[MetricValue], metrics: &[Metric]) -> bool {
    let first = scores.first();
    first.is_some_and(|first| first.metric == metrics[0].name())
}

fn score_of(scores: &[MetricValue], metric: Metric) -> Option<&MetricValue> {
    scores.iter().find(|score| score.metric == metric.name())
}

/// The mean of a metric over two splits.
fn mean_of(a: &MetricValue, b: &MetricValue) -> MetricValue {
    // The sets are drawn apart: half the interval of a mean is half the root of the sum of squares
    // of theirs.
    let half = |end: &dyn Fn(&MetricValue) -> f64| end(a).hypot(end(b)) / 2.0;
    let value = f64::midpoint(a.value, b.value);
    MetricValue {
        value,
        standard_error: half(&|score| score.standard_error),
        ci_low: value - half(&|score| score.value - score.ci_low),
        ci_high: value + half(&|score| score.ci_high - score.value),
        split: format!("{} and {}", a.split, b.split),
        n: a.n + b.n,
        ..a.clone()
    }
}

fn value(metric: Metric, score: Score, split: &str) -> MetricValue {
    MetricValue {
        metric: metric.name().into(),
        split: split.into(),
        value: score.value,
        standard_error: score.standard_error,
        ci_low: score.ci_low,
        ci_high: score.ci_high,
        interval: score.interval.name().into(),
        n: score.n,
        unit: metric.unit().into(),
        higher_is_better: metric.higher_is_better(),
    }
}

/// Scores a file of predictions with a task's metrics.
pub fn score(args: &ScoreArgs) -> Result<Vec<MetricValue>> {
    let registry = registry_of(&args.data_args.task_file)?;
    let tasks = select(&registry, &args.task, flava_tasks::Suite::Paper)?;
    let [task] = tasks[..] else {
        return Err(Error::Argument {
            argument: "--task",
            value: args.task.clone(),
            reason: format!("names {} tasks", tasks.len()),
        });
    };
    let (data, offline) = (args.data_args.data.clone(), true);
    let task = &DataLocator::new(data, offline, true)?.whole(task)?;
    let protocol: Protocol = args.data_args.protocol.into();
    let none = || Error::Lacking {
        what: "protocol",
        reason: format!("{} has no protocol {}", task.name, protocol.name()),
    };
    let assignment = task.assign(protocol).ok_or_else(none)?;
    let (predictions, split) = read_predictions(args, task, &assignment)?;
    let metrics = &assignment.metrics;
    let found = scores(metrics, &predictions, &task.name, &split);
    if !has_main(&found, metrics) {
        return Err(Error::Undefined {
            metric: metrics[0],
            reason: format!("cannot be computed from {}", args.predictions.display()),
        });
    }
    Ok(found)
}

/// Predictions beside what is right, and of which split.
fn read_predictions(
    args: &ScoreArgs,
    task: &Task,
    assignment: &Assignment,
) -> Result<(Predictions, String)> {
    if let Some(own) = own_predictions(args, task)? {
        if args.data_args.data.is_some() {
            let opened = open_data(args, task, assignment)?;
            own.check_against(&*opened.test.dataset)?;
        }
        return Ok((own, "as predicted".to_owned()));
    }
    let foreign = Foreign::read(&args.predictions)?;
    let test = open_data(args, task, assignment)?.test;
    Ok((foreign.against(&*test.dataset, task.classes)?, test.name))
}

/// Predictions of an earlier run; None where the file is another program's.
fn own_predictions(args: &ScoreArgs, task: &Task) -> Result<Option<Predictions>> {
    let path = &args.predictions;
    if path.extension().is_none_or(|ending| ending != "parquet") {
        return Ok(None);
    }
    match Predictions::read(path)? {
        Some((_, of)) if of != task.name => {
            let (path, name) = (path.display(), &task.name);
            Err(Error::Mismatch {
                what: "task",
                reason: format!("{path}: holds predictions of {of}, not of {name}"),
            })
        }
        own => Ok(own.map(|(own, _)| own)),
    }
}

/// The data that predictions are compared with.
fn open_data<'a>(
    args: &ScoreArgs,
    task: &'a Task,
    assignment: &Assignment,
) -> Result<OpenTask<'a>> {
    let locator = DataLocator::new(
        args.data_args.data.clone(),
        args.data_args.network.offline,
        true,
    )?;
    let choice = locator.source(task, assignment, args.data_args.allow_mismatch)?;
    let opened = OpenTask::open(task, choice, args.seed)?;
    for note in &opened.notes {
        flava_base::say(&format!("note: {note}"));
    }
    if !opened.mismatches.is_empty() && !args.data_args.allow_mismatch {
        return Err(flava_tasks::Error::Mismatch {
            task: task.name.clone(),
            reasons: opened.mismatches,
        }
        .into());
    }
    opened
        .mismatches
        .iter()
        .for_each(|mismatch| flava_base::say(&format!("note: {mismatch}")));
    Ok(opened)
}
