//! Nearest neighbours among the training rows, by cosine (the protocol of DINO: k of 10, 20, 100
//! and 200, temperature 0.07).

use flava_heads::Neighbours;
use flava_tasks::{Feature, Metric};
use serde_json::{Map, json};

use super::{Answer, Job, classified, fit::in_rank_order, labels};
use crate::{Error, Result, features::Extractor};

/// The first is the one that is reported; the others stand in the details.
const KS: [i64; 4] = [20, 10, 100, 200];
const TEMPERATURE: f64 = 0.07;

pub(super) fn run(job: &Job, feature: Feature, extractor: &Extractor) -> Result<Answer> {
    let device = extractor.model.options.device;
    let train = in_rank_order(extractor.features(job.train()?, feature)?, job.seed)?;
    let neighbours = Neighbours::new(
        &train.values.f_to_device(device)?,
        &labels(&train)?,
        job.task.classes as i64,
        TEMPERATURE,
    )?;
    let test = extractor.features(&job.splits.test, feature)?;
    let votes = neighbours.votes(&test.values.f_to_device(device)?, &KS)?;
    let mut by_k = Map::new();
    let mut reported = None;
    for (k, votes) in KS.into_iter().zip(votes) {
        // Votes pass f32's range of distinct values; their logarithms have the same order.
        let predictions = classified(&test, &votes.f_log()?)?;
        let accuracy = Metric::Accuracy
            .score(&predictions, &job.task.name)
            .map(|score| score.value);
        by_k.insert(k.min(train.ids.len() as i64).to_string(), json!(accuracy));
        reported.get_or_insert(predictions);
    }
    let predictions = vec![reported.ok_or_else(|| Error::Other("no k was tried".into()))?];
    let details = Map::from_iter([
        ("k".into(), json!(KS[0].min(train.ids.len() as i64))),
        ("temperature".into(), json!(TEMPERATURE)),
        ("accuracy_by_k".into(), by_k.into()),
    ]);
    let mut answer = Answer::new(
        predictions,
        train.skipped + test.skipped,
        train.ids.len(),
        details,
    );
    if train.ids.len() < KS[0] as usize {
        let reason = format!(
            "{} training rows are fewer than the {} neighbours that are asked",
            train.ids.len(),
            KS[0]
        );
        answer.notes.push(reason.clone());
        answer.departures.push(reason);
    }
    Ok(answer)
}
