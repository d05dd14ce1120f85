//! The probe on a few training rows of each class, drawn several times. The penalty is
//! scikit-learn's default: with so few rows there are none to choose it on, and a whole validation
//! split would not be few shots.

use std::collections::BTreeMap;

use flava_base::{ID_RANK_RULE, id_rank};
use flava_heads::Probe;
use flava_tasks::Predictions;
use serde_json::{Map, json};
use tch::{Device, Tensor};

use super::{
    linear_probe::OPTIONS,
    method::{MethodInput, MethodOutput, classified, labels, listed_ids},
};
use crate::{Error, Result, features::Features};

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

/// What the draws of so many shots gave.
struct Draws {
    shots: usize,
    median: Draw,
    lowest: f64,
    highest: f64,
    scores: Vec<f64>,
    deviation: f64,
}

pub(super) fn run(input: &MethodInput) -> Result<MethodOutput> {
    let feature = input.feature()?;
    let train = input.source.features(input.train()?, feature)?;
    let test = input.source.features(&input.splits.test, feature)?;
    let probes = FewShot::new(input, &train, &test)?;
    let mut by_shots = Map::new();
    let mut reported = None;
    for shots in SHOTS {
        let draws = probes.draws(shots)?;
        let summary = json!({
            "median": draws.median.score,
            "lowest": draws.lowest,
            "highest": draws.highest,
            "draws": draws.scores,
            "deviation": draws.deviation,
        });
        by_shots.insert(shots.to_string(), summary);
        reported = Some(draws);
    }
    let draws = reported.ok_or(Error::Internal("no shots were drawn"))?;
    let (shots, rows) = (draws.shots, draws.median.rows);
    let ids: Vec<&str> = rows
        .iter()
        .map(|&row| train.ids[row as usize].as_str())
        .collect();
    let drawn = json!({
        "rule": format!("of each class those of the {ID_RANK_RULE}"),
        "seed": input.plan.seed,
        "purpose": purpose(shots, draws.median.number),
        "ids": listed_ids(&ids),
    });
    let mut output = MethodOutput::new(vec![draws.median.predictions]);
    output.skipped = train.skipped + test.skipped;
    output.train_rows = rows.len();
    output.detail("shots", shots);
    output.detail("penalty", PENALTY);
    let metric = input.assignment.metrics[0].name();
    output.detail(&format!("{metric}_by_shots"), by_shots);
    output.detail("drawn", drawn);
    // The interval of the rows alone says nothing of which rows were drawn.
    output.detail("draws_deviation", draws.deviation);
    output.spread = draws.deviation;
    let classes = input.task.classes;
    if rows.len() < shots * classes {
        let count = rows.len();
        output.depart(format!(
            "{count} training rows are fewer than {shots} of each of {classes} classes"
        ));
    }
    Ok(output)
}

/// Rows that are drawn from, and those that are scored, on the device.
struct FewShot<'a> {
    input: &'a MethodInput<'a>,
    train: &'a Features,
    test: &'a Features,
    classes: Vec<usize>,
    device: Device,
    values: Tensor,
    labels: Tensor,
    scored: Tensor,
}

impl<'a> FewShot<'a> {
    fn new(input: &'a MethodInput, train: &'a Features, test: &'a Features) -> Result<Self> {
        let device = input.device();
        Ok(Self {
            input,
            train,
            test,
            classes: train.classes()?,
            device,
            values: train.values.f_to_device(device)?,
            scored: test.values.f_to_device(device)?,
            labels: labels(train)?.f_to_device(device)?,
        })
    }

    /// All draws of so many shots.
    fn draws(&self, shots: usize) -> Result<Draws> {
        let draws = (0..DRAWS).map(|number| self.draw(shots, number));
        let mut draws = draws.collect::<Result<Vec<Draw>>>()?;
        let scores: Vec<f64> = draws.iter().map(|draw| draw.score).collect();
        draws.sort_by(|a, b| a.score.total_cmp(&b.score));
        Ok(Draws {
            shots,
            lowest: draws[0].score,
            highest: draws[draws.len() - 1].score,
            deviation: deviation(&scores),
            scores,
            median: draws.swap_remove(draws.len() / 2),
        })
    }

    fn draw(&self, shots: usize, number: u64) -> Result<Draw> {
        let (seed, purpose) = (self.input.plan.seed, purpose(shots, number));
        let rank = |id: &str| id_rank(seed, &purpose, id);
        let rows = drawn(&self.classes, &self.train.ids, shots, &rank);
        let index = Tensor::f_from_slice(&rows)?.f_to_device(self.device)?;
        let probe = Probe::new(
            vec![self.values.f_index_select(0, &index)?],
            &self.labels.f_index_select(0, &index)?,
            self.input.task.classes as i64,
        )?;
        let (head, _) = probe.fit(&[(PENALTY, None)], &OPTIONS)?.remove(0);
        let predictions = classified(self.test, &head.forward(&self.scored)?)?;
        let metric = self.input.assignment.metrics[0];
        let undefined = || Error::Undefined {
            metric,
            reason: "is not defined of these predictions".into(),
        };
        let score = metric.value(&predictions, &self.input.task.name);
        Ok(Draw {
            number,
            rows,
            score: score.ok_or_else(undefined)?,
            predictions,
        })
    }
}

fn purpose(shots: usize, draw: u64) -> String {
    format!("few-shot {shots} draw {draw}")
}

/// Rows of each class, or all of a class that has fewer: those of the smallest ranks, in their
/// order.
fn drawn(classes: &[usize], ids: &[String], shots: usize, rank: &dyn Fn(&str) -> u64) -> Vec<i64> {
    let mut members: BTreeMap<usize, Vec<(u64, &str, i64)>> = BTreeMap::new();
    for (row, (&class, id)) in classes.iter().zip(ids).enumerate() {
        let of_class = members.entry(class).or_default();
        of_class.push((rank(id), id, row as i64));
    }
    let mut drawn = Vec::new();
    for mut rows in members.into_values() {
        rows.sort_unstable();
        drawn.extend(rows.into_iter().take(shots).map(|(.., row)| row));
    }
    drawn
}

/// The standard deviation of the scores of draws.
fn deviation(scores: &[f64]) -> f64 {
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
    (squares / (scores.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_ids_and_not_positions() {
        let ids: Vec<String> = (0..60).map(|id| format!("row-{id}")).collect();
        let classes: Vec<usize> = (0..60).map(|id| id % 3).collect();
        let of = |order: &[usize]| {
            let ids: Vec<String> = order.iter().map(|&row| ids[row].clone()).collect();
            let classes: Vec<usize> = order.iter().map(|&row| classes[row]).collect();
            drawn(&classes, &ids, 5, &|id| id_rank(7, "draw", id))
                .into_iter()
                .map(|row| ids[row as usize].clone())
                .collect::<Vec<_>>()
        };
        let (straight, reversed): (Vec<usize>, Vec<usize>) =
            ((0..60).collect(), (0..60).rev().collect());
        assert_eq!(of(&straight), of(&reversed));
        assert_eq!(of(&straight).len(), 15);
        assert_ne!(
            drawn(&classes, &ids, 5, &|id| id_rank(7, "draw", id)),
            drawn(&classes, &ids, 5, &|id| id_rank(7, "another", id))
        );
    }
}
