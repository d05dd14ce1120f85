//! What a model answered, row by row, as the formats with samples tell it.

use flava_tasks::{Metric, Outputs, Predictions};
use serde_json::Value;

use super::parts::Part;
use crate::{Result, Run};

/// A row's share of a metric.
pub(super) struct RowScore<'a> {
    pub(super) metric: &'a str,
    pub(super) value: f64,
}

/// A row, or a query of a retrieval.
pub(super) struct Sample<'a> {
    pub(super) id: String,
    /// Its class, value or words; of a query the rank of the best right item.
    pub(super) answer: String,
    /// What is right.
    pub(super) targets: Vec<String>,
    /// Of the metrics that are means over rows.
    pub(super) scores: Vec<RowScore<'a>>,
}

/// The samples of a part of a record; None where its predictions are not there.
pub(super) fn samples<'a>(run: &Run, part: &Part<'a>) -> Result<Option<Vec<Sample<'a>>>> {
    let split = (!part.first).then_some(part.split);
    let Some(predictions) = run.predictions_on(part.record, split)? else {
        return Ok(None);
    };
    let mut samples = rows(&predictions);
    for score in &part.metrics {
        let Some(metric) = metric_of(&score.metric) else {
            continue;
        };
        let Some(values) = metric.per_row(&predictions) else {
            continue;
        };
        let from = first_row(metric, &predictions);
        for (sample, value) in samples.iter_mut().skip(from).zip(values) {
            let metric = score.metric.as_str();
            sample.scores.push(RowScore { metric, value });
        }
    }
    Ok(Some(samples))
}

/// The metric of a name in records.
pub(super) fn metric_of(name: &str) -> Option<Metric> {
    serde_json::from_value(Value::String(name.to_owned())).ok()
}

/// The first sample that a metric is over: of a retrieval, captions come behind images.
fn first_row(metric: Metric, predictions: &Predictions) -> usize {
    match &predictions.outputs {
        Outputs::Ranks { texts, .. } if metric.name().starts_with("image_") => texts.len(),
        _ => 0,
    }
}

fn rows<'a>(predictions: &Predictions) -> Vec<Sample<'a>> {
    let sample = |id: &str, answer: String, targets: Vec<String>| Sample {
        id: id.to_owned(),
        answer,
        targets,
        scores: Vec::new(),
    };
    let ids = predictions.ids.iter();
    match &predictions.outputs {
        Outputs::Classes {
            predicted, gold, ..
        } => ids
            .zip(predicted.iter().zip(gold))
            .map(|(id, (answer, gold))| sample(id, answer.to_string(), vec![gold.to_string()]))
            .collect(),
        Outputs::Values { predicted, gold } => ids
            .zip(predicted.iter().zip(gold))
            .map(|(id, (answer, gold))| sample(id, answer.to_string(), vec![gold.to_string()]))
            .collect(),
        Outputs::Answers { predicted, gold } => ids
            .zip(predicted.iter().zip(gold))
            .map(|(id, (answer, gold))| {
                let words = gold.iter().map(ToString::to_string).collect();
                sample(id, answer.clone(), words)
            })
            .collect(),
        Outputs::Ranks { texts, images } => {
            let of_images = texts
                .iter()
                .map(|query| (format!("image/{}", query.image), query.rank));
            let captions = images.iter().enumerate();
            let of_captions = captions.map(|(at, query)| (format!("caption/{at}"), query.rank));
            of_images
                .chain(of_captions)
                .map(|(id, rank)| sample(&id, rank.to_string(), vec!["1".to_owned()]))
                .collect()
        }
    }
}

/// The share of rows whose class is among the best five: the record's, or else that of its
/// predictions.
pub(super) fn top5(run: &Run, part: &Part) -> Result<Option<f64>> {
    if let Some(score) = part.score(Metric::Top5.name()) {
        return Ok(Some(score.value));
    }
    let split = (!part.first).then_some(part.split);
    let predictions = run.predictions_on(part.record, split)?;
    Ok(predictions.and_then(|predictions| Metric::Top5.value(&predictions, &part.record.task)))
}
