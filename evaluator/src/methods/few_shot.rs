//! The probe on a few training rows of each class, drawn several times. The penalty is
//! scikit-learn's default: with so few rows there are none to choose it on, and a whole validation
//! split would not be few shots.

use std::collections::BTreeMap;

use flava_base::{ID_RANK_RULE, id_rank};
use flava_heads::Probe;
use flava_tasks::{Feature, Predictions};
use serde_json::{Map, json};
use tch::Tensor;

use super::{Answer, Job, classified, labels, linear_probe::OPTIONS, listed_ids};
use crate::{
    Error, Result,
    features::{Extractor, Features},
};

/// Rows of each class; the last is the one that is reported.
const SHOTS: [usize; 3] = [5, 10, 16];
const DRAWS: u64 = 5;
const PENALTY: f64 = 1.0;

/// One draw's rows and what the probe on them answers.
struct Draw {
    number: u64,
    rows: Vec<i64>,
    score: f64,
    predictions: Predictions,
}

pub(super) fn run(job: &Job, feature: Feature, extractor: &Extractor) -> Result<Answer> {
    let train = extractor.features(job.train()?, feature)?;
    let test = extractor.features(&job.splits.test, feature)?;
    let metric = job.assignment.metrics[0];
    let mut by_shots = Map::new();
    let mut reported = None;
    for shots in SHOTS {
        let mut draws = draws(job, extractor, (&train, &test), shots)?;
        let scores: Vec<f64> = draws.iter().map(|draw| draw.score).collect();
        let deviation = deviation(&scores);
        draws.sort_by(|a, b| a.score.total_cmp(&b.score));
        let (lowest, highest) = (draws[0].score, draws[draws.len() - 1].score);
        let median = draws.swap_remove(draws.len() / 2);
        by_shots.insert(
            shots.to_string(),
            json!({ "median": median.score, "lowest": lowest, "highest": highest, "draws": scores, "deviation": deviation }),
        );
        reported = Some((shots, median, deviation));
    }
    let (shots, median, deviation) =
        reported.ok_or_else(|| Error::Other("no shots were drawn".into()))?;
    let ids: Vec<&str> = median
        .rows
        .iter()
        .map(|&row| train.ids[row as usize].as_str())
        .collect();
    let mut details = Map::new();
    details.insert("shots".into(), json!(shots));
    details.insert("penalty".into(), json!(PENALTY));
    details.insert(format!("{}_by_shots", metric.name()), by_shots.into());
    details.insert(
        "drawn".into(),
        json!({
            "rule": format!("of each class those of the {ID_RANK_RULE}"), "seed": job.seed, "purpose": purpose(shots, median.number),
            "ids": listed_ids(&ids),
        }),
    );
    // The interval of the rows alone says nothing of which rows were drawn.
    details.insert("draws_deviation".into(), json!(deviation));
    let classes = job.task.classes;
    let mut answer = Answer::new(
        vec![median.predictions],
        train.skipped + test.skipped,
        median.rows.len(),
        details,
    );
    if median.rows.len() < shots * classes {
        let reason = format!(
            "{} training rows are fewer than {shots} of each of {classes} classes",
            median.rows.len()
        );
        answer.notes.push(reason.clone());
        answer.departures.push(reason);
    }
    answer.spread = deviation;
    Ok(answer)
}

fn draws(
    job: &Job,
    extractor: &Extractor,
    (train, test): (&Features, &Features),
    shots: usize,
) -> Result<Vec<Draw>> {
    let device = extractor.model.options.device;
    let (values, scored) = (
        train.values.f_to_device(device)?,
        test.values.f_to_device(device)?,
    );
    let truth = labels(train)?.f_to_device(device)?;
    let classes = train.classes()?;
    let mut draws = Vec::new();
    for number in 0..DRAWS {
        let rows = drawn(
            &classes,
            &train.ids,
            shots,
            (job.seed, &purpose(shots, number)),
        );
        let index = Tensor::from_slice(&rows).f_to_device(device)?;
        let probe = Probe::new(
            vec![values.f_index_select(0, &index)?],
            &truth.f_index_select(0, &index)?,
            job.task.classes as i64,
        )?;
        let (head, _) = probe.fit(&[(PENALTY, None)], &OPTIONS)?.remove(0);
        let predictions = classified(test, &head.forward(&scored)?)?;
        let metric = job.assignment.metrics[0];
        let undefined = || {
            Error::Other(format!(
                "{} is not defined of these predictions",
                metric.name()
            ))
        };
        let score = metric
            .value(&predictions, &job.task.name)
            .ok_or_else(undefined)?;
        draws.push(Draw {
            number,
            rows,
            score,
            predictions,
        });
    }
    Ok(draws)
}

fn purpose(shots: usize, draw: u64) -> String {
    format!("few-shot {shots} draw {draw}")
}

/// Rows of each class, or all of a class that has fewer: those of the smallest ranks, in their
/// order.
fn drawn(
    classes: &[usize],
    ids: &[String],
    shots: usize,
    (seed, purpose): (u64, &str),
) -> Vec<i64> {
    let mut members: BTreeMap<usize, Vec<(u64, &str, i64)>> = BTreeMap::new();
    for (row, (&class, id)) in classes.iter().zip(ids).enumerate() {
        members
            .entry(class)
            .or_default()
            .push((id_rank(seed, purpose, id), id, row as i64));
    }
    let first = |mut rows: Vec<(u64, &str, i64)>| {
        rows.sort_unstable();
        rows.truncate(shots);
        rows.into_iter().map(|(.., row)| row).collect::<Vec<i64>>()
    };
    members.into_values().flat_map(first).collect()
}

/// The standard deviation of the scores of draws.
fn deviation(scores: &[f64]) -> f64 {
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    (scores
        .iter()
        .map(|score| (score - mean).powi(2))
        .sum::<f64>()
        / (scores.len() - 1) as f64)
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::drawn;

    #[test]
    fn draws_follow_ids_and_not_positions() {
        let ids: Vec<String> = (0..60).map(|id| format!("row-{id}")).collect();
        let classes: Vec<usize> = (0..60).map(|id| id % 3).collect();
        let of = |order: &[usize]| {
            let ids: Vec<String> = order.iter().map(|&row| ids[row].clone()).collect();
            let classes: Vec<usize> = order.iter().map(|&row| classes[row]).collect();
            drawn(&classes, &ids, 5, (7, "draw"))
                .into_iter()
                .map(|row| ids[row as usize].clone())
                .collect::<Vec<_>>()
        };
        let (straight, reversed): (Vec<usize>, Vec<usize>) =
            ((0..60).collect(), (0..60).rev().collect());
        assert_eq!(of(&straight), of(&reversed));
        assert_eq!(of(&straight).len(), 15);
        assert_ne!(
            drawn(&classes, &ids, 5, (7, "draw")),
            drawn(&classes, &ids, 5, (7, "another"))
        );
    }
}
