//! Nearest neighbours among the training rows, by cosine (the protocol of DINO: k of 10, 20, 100
//! and 200, temperature 0.07).

use flava_heads::Neighbours;
use flava_tasks::Metric;
use serde_json::{Map, json};

use super::{
    hold_out::in_rank_order,
    method::{MethodInput, MethodOutput, classified, labels},
};
use crate::{Error, Result};

/// The first is the one that is reported; the others stand in the details.
const KS: [i64; 4] = [20, 10, 100, 200];
const TEMPERATURE: f64 = 0.07;

pub(super) fn run(input: &MethodInput) -> Result<MethodOutput> {
    let (source, feature) = (input.source, input.feature()?);
    let device = input.device();
    let train = in_rank_order(source.features(input.train()?, feature)?, input.plan.seed)?;
    let rows = train.ids.len();
    let neighbours = Neighbours::new(
        &train.values.f_to_device(device)?,
        &labels(&train)?,
        input.task.classes as i64,
        TEMPERATURE,
    )?;
    let test = source.features(&input.splits.test, feature)?;
    let votes = neighbours.votes(&test.values.f_to_device(device)?, &KS)?;
    let mut by_k = Map::new();
    let mut reported = None;
    for (k, votes) in KS.into_iter().zip(votes) {
        // Votes pass f32's range of distinct values; their logarithms have the same order.
        let predictions = classified(&test, &votes.f_log()?)?;
        let accuracy = Metric::Accuracy.score(&predictions, &input.task.name);
        let accuracy = accuracy.map(|score| score.value);
        by_k.insert(k.min(rows as i64).to_string(), json!(accuracy));
        reported.get_or_insert(predictions);
    }
    let reported = reported.ok_or(Error::Internal("no k was tried"))?;
    let mut output = MethodOutput::new(vec![reported]);
    output.skipped = train.skipped + test.skipped;
    output.train_rows = rows;
    output.detail("k", KS[0].min(rows as i64));
    output.detail("temperature", TEMPERATURE);
    output.detail("accuracy_by_k", by_k);
    if rows < KS[0] as usize {
        let asked = KS[0];
        let reason =
            format!("{rows} training rows are fewer than the {asked} neighbours that are asked");
        output.depart(reason);
    }
    Ok(output)
}
