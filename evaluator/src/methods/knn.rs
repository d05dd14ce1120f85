//! Nearest neighbours among the training rows, by cosine (the protocol of DINO: k of 10, 20, 100 and 200, temperature 0.07).

use flava_heads::Neighbours;
use flava_tasks::{Feature, Metric};
use serde_json::{Map, json};

use super::{Answer, Job, classified, labels};
use crate::{Error, Result, features::Extractor};

/// The first is the one that is reported; the others stand in the details.
const KS: [i64; 4] = [20, 10, 100, 200];
const TEMPERATURE: f64 = 0.07;

pub(super) fn run(job: &Job, feature: Feature, extractor: &Extractor) -> Result<Answer> {
    let device = extractor.model.options.device;
    let train = extractor.features(job.train()?, feature)?;
    let neighbours = Neighbours::new(&train.values.f_to_device(device)?, &labels(&train)?, job.task.classes as i64, TEMPERATURE)?;
    let test = extractor.features(&job.splits.test, feature)?;
    let votes = neighbours.votes(&test.values.f_to_device(device)?, &KS)?;
    let mut by_k = Map::new();
    let mut reported = None;
    for (k, votes) in KS.into_iter().zip(votes) {
        // Votes pass f32's range of distinct values; their logarithms have the same order.
        let predictions = classified(&test, &votes.f_log()?)?;
        let accuracy = Metric::Accuracy.score(&predictions, &job.task.name).map(|score| score.value);
        by_k.insert(k.to_string(), json!(accuracy));
        reported.get_or_insert(predictions);
    }
    let predictions = vec![reported.ok_or_else(|| Error::Other("no k was tried".into()))?];
    let details =
        Map::from_iter([("k".into(), json!(KS[0])), ("temperature".into(), json!(TEMPERATURE)), ("accuracy_by_k".into(), by_k.into())]);
    Ok(Answer { predictions, skipped: train.skipped + test.skipped, train_rows: train.ids.len(), transform: None, details })
}
