//! From predictions to a record's scores; and `flava-eval score`, which does it for files.

use flava_results::MetricValue;
use flava_tasks::{
    Assignment, Metric, Predictions, Protocol, Score, Task, predictions::Foreign, select,
};

use crate::{Error, Places, Result, args::ScoreArgs, data::OpenTask, plan::registry_of};

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
    for (scores, (split, _)) in each.iter().zip(predictions) {
        if scores
            .first()
            .is_none_or(|first| first.metric != metrics[0].name())
        {
            return Err(Error::Other(format!(
                "{} is not defined of the answers to split {split}",
                metrics[0].name()
            )));
        }
    }
    let [first, second] = &each[..] else {
        return Ok(each.into_iter().flatten().collect());
    };
    let mean = |metric: &Metric| {
        let of = |scores: &[MetricValue]| {
            scores
                .iter()
                .find(|score| score.metric == metric.name())
                .cloned()
        };
        let (a, b) = (of(first)?, of(second)?);
        let standard_error = a.standard_error.hypot(b.standard_error) / 2.0;
        // The sets are drawn apart: half the interval of a mean is half the root of the sum of
        // squares of theirs.
        let half = |low: bool| {
            let end = |score: &MetricValue| {
                if low {
                    score.value - score.ci_low
                } else {
                    score.ci_high - score.value
                }
            };
            end(&a).hypot(end(&b)) / 2.0
        };
        let value = f64::midpoint(a.value, b.value);
        let split = format!("{} and {}", a.split, b.split);
        Some(MetricValue {
            value,
            standard_error,
            ci_low: value - half(true),
            ci_high: value + half(false),
            split,
            n: a.n + b.n,
            ..a
        })
    };
    Ok(metrics
        .iter()
        .filter_map(mean)
        .chain(each.iter().flatten().cloned())
        .collect())
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
    }
}

/// Scores a file of predictions with a task's metrics.
pub fn score(args: &ScoreArgs) -> Result<Vec<MetricValue>> {
    let registry = registry_of(&args.data_args.task_file)?;
    let tasks = select(&registry, &args.task, flava_tasks::Suite::Paper)?;
    let [task] = tasks[..] else {
        return Err(Error::Other(format!(
            "--task {}: names {} tasks",
            args.task,
            tasks.len()
        )));
    };
    let protocol: Protocol = args.data_args.protocol.into();
    let none = || Error::Other(format!("{} has no protocol {}", task.name, protocol.name()));
    let assignment = task.assign(protocol).ok_or_else(none)?;
    let parquet = args
        .predictions
        .extension()
        .is_some_and(|ending| ending == "parquet");
    let own = if parquet {
        Predictions::read(&args.predictions)?
    } else {
        None
    };
    let (predictions, split) = if let Some((own, of)) = own {
        if of != task.name {
            return Err(Error::Other(format!(
                "{}: holds predictions of {of}, not of {}",
                args.predictions.display(),
                task.name
            )));
        }
        if args.data_args.data.is_some() {
            let opened = open_data(args, task, &assignment)?;
            own.check_against(&*opened.test.dataset)?;
        }
        (own, "as predicted".to_owned())
    } else {
        let foreign = Foreign::read(&args.predictions)?;
        let opened = open_data(args, task, &assignment)?;
        (
            foreign.against(&*opened.test.dataset, task.classes)?,
            opened.test.name,
        )
    };
    let found = scores(&assignment.metrics, &predictions, &task.name, &split);
    if found
        .first()
        .is_none_or(|score| score.metric != assignment.metrics[0].name())
    {
        return Err(Error::Other(format!(
            "{} cannot be computed from {}",
            assignment.metrics[0].name(),
            args.predictions.display()
        )));
    }
    Ok(found)
}

/// The data that predictions are compared with.
fn open_data<'a>(
    args: &ScoreArgs,
    task: &'a Task,
    assignment: &Assignment,
) -> Result<OpenTask<'a>> {
    let places = Places::new(args.data_args.data.clone(), args.data_args.offline, true)?;
    let choice = places.source(task, assignment, args.data_args.allow_mismatch)?;
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
