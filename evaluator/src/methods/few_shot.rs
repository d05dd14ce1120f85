//! The probe on a few training rows of each class, drawn several times. The penalty is scikit-learn's default: with so few rows
//! there are none to choose it on, and a whole validation split would not be few shots.

use std::collections::BTreeMap;

use flava_heads::Probe;
use flava_model::runtime::stream;
use flava_tasks::{Feature, Metric};
use rand::seq::SliceRandom;
use serde_json::{Map, json};
use tch::Tensor;

use super::{Answer, Job, classified, labels, linear_probe::OPTIONS};
use crate::{Error, Result, features::Extractor};

/// Rows of each class; the last is the one that is reported.
const SHOTS: [usize; 3] = [5, 10, 16];
const DRAWS: u64 = 5;
const PENALTY: f64 = 1.0;

pub(super) fn run(job: &Job, feature: Feature, extractor: &Extractor) -> Result<Answer> {
    let device = extractor.model.options.device;
    let train = extractor.features(job.train()?, feature)?;
    let test = extractor.features(&job.splits.test, feature)?;
    let (values, truth, scored) =
        (train.values.f_to_device(device)?, labels(&train)?.f_to_device(device)?, test.values.f_to_device(device)?);
    let classes = train.classes()?;
    let mut by_shots = Map::new();
    let (mut reported, mut train_rows) = (Vec::new(), 0);
    for shots in SHOTS {
        let mut draws = Vec::new();
        for draw in 0..DRAWS {
            let drawn = draw_rows(&classes, shots, &format!("few-shot {shots} {draw}"), job.seed);
            train_rows = drawn.len();
            let rows = Tensor::from_slice(&drawn).f_to_device(device)?;
            let features = values.f_index_select(0, &rows)?;
            let probe = Probe::new(vec![features], &truth.f_index_select(0, &rows)?, job.task.classes as i64)?;
            let (head, _) = probe.fit(&[(PENALTY, None)], &OPTIONS)?.remove(0);
            let predictions = classified(&test, &head.forward(&scored)?)?;
            let accuracy = Metric::Accuracy.score(&predictions, &job.task.name).map_or(0.0, |score| score.value);
            draws.push((accuracy, predictions));
        }
        let accuracies: Vec<f64> = draws.iter().map(|(accuracy, _)| *accuracy).collect();
        draws.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (lowest, highest) = (draws[0].0, draws[draws.len() - 1].0);
        let (median, predictions) = draws.swap_remove(draws.len() / 2);
        by_shots.insert(shots.to_string(), json!({ "median": median, "lowest": lowest, "highest": highest, "draws": accuracies }));
        reported.push(predictions);
    }
    let predictions = vec![reported.pop().ok_or_else(|| Error::Other("no shots were drawn".into()))?];
    let shots = SHOTS[SHOTS.len() - 1];
    let details =
        Map::from_iter([("shots".into(), json!(shots)), ("penalty".into(), json!(PENALTY)), ("accuracy_by_shots".into(), by_shots.into())]);
    Ok(Answer { predictions, skipped: train.skipped + test.skipped, train_rows, transform: None, details })
}

/// Rows of each class, or all of a class that has fewer.
fn draw_rows(classes: &[usize], shots: usize, purpose: &str, seed: u64) -> Vec<i64> {
    let mut members: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for (row, &class) in classes.iter().enumerate() {
        members.entry(class).or_default().push(row as i64);
    }
    let mut rng = stream(seed, purpose);
    let mut drawn = Vec::new();
    for rows in members.values_mut() {
        rows.shuffle(&mut rng);
        drawn.extend(&rows[..shots.min(rows.len())]);
    }
    drawn
}
