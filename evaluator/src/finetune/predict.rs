//! A network's answers to the rows of a split.

use std::ops::Range;

use flava_model::runtime::{Autocast, Precision, Progress};
use flava_results::MetricValue;
use flava_tasks::{
    Label, Metric, Outputs, Predictions, Tower,
    metrics::official_accuracy,
    predictions::{Logits, shared},
};
use tch::{Device, Kind, Tensor};

use super::{
    Network, Output,
    batches::{encodings, inputs, preparation},
};
use crate::{
    Error, Result, Settings, check_interrupted,
    features::{Rows, by_tokens, in_row_order},
    score::scores,
};

/// The head's numbers for each row, \[rows, width\], f32 on the CPU.
pub(crate) fn outputs(
    network: &mut Network,
    rows: &Rows,
    max_tokens: usize,
    settings: &Settings,
    progress: &Progress,
) -> Result<Tensor> {
    let _guard = tch::no_grad_guard();
    let device = network.store.device();
    let texts = if network.feature.tower == Tower::Image {
        Vec::new()
    } else {
        encodings(rows, network, max_tokens)?
    };
    // Texts of like length go together; rows with pictures stay in their order, in which they are
    // read best.
    let pictures = preparation(network, settings);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    if pictures.is_none() {
        order.sort_by_key(|&place| texts[place].input_ids.len());
    }
    let batches: Vec<Range<usize>> = if pictures.is_some() {
        let size = settings.batch_size.rows(device);
        (0..rows.len())
            .step_by(size)
            .map(|start| start..(start + size).min(rows.len()))
            .collect()
    } else {
        by_tokens(
            &order.iter().map(|&place| &texts[place]).collect::<Vec<_>>(),
            0..rows.len(),
        )
    };
    let bar = progress.task(&format!("{}: answers", rows.split.name), rows.len());
    let mut loader = pictures.map(|pictures| pictures.start(rows, batches.clone()));
    let mut parts = Vec::with_capacity(batches.len());
    for batch in batches {
        check_interrupted()?;
        let pixels = match &mut loader {
            None => Vec::new(),
            Some(loader) => {
                let rows = loader
                    .next()
                    .unwrap_or_default()
                    .into_iter()
                    .collect::<Result<Vec<_>>>()?;
                rows.into_iter().map(|row| row.pixels).collect()
            }
        };
        let (text, images) = inputs(
            order[batch.clone()]
                .iter()
                .filter_map(|&place| texts.get(place)),
            &pixels,
            network.text.pad_id(),
            device,
        )?;
        let _autocast = Autocast::new(device, autocast_of(settings))?;
        parts.push(
            network
                .forward(text.as_ref(), images.as_ref(), false)?
                .f_to_kind(Kind::Float)?
                .f_to_device(Device::Cpu)?,
        );
        bar.add(batch.len());
    }
    in_row_order(&Tensor::f_cat(&parts, 0)?, &order)
}

/// Weights are f32; what is computed with is what was asked for.
pub(crate) fn autocast_of(settings: &Settings) -> Precision {
    settings.load.precision
}

/// The answers that a row's numbers stand for: words of VQA, others as numbers or classes.
pub(crate) fn answers(network: &Network, outputs: &Tensor) -> Result<Vec<String>> {
    Ok(match &network.output {
        Output::Value => Vec::<f32>::try_from(outputs.f_flatten(0, -1)?)?
            .iter()
            .map(ToString::to_string)
            .collect(),
        Output::Classes { .. } => best(outputs)?.iter().map(ToString::to_string).collect(),
        Output::Answers { answers } => best(outputs)?
            .into_iter()
            .map(|place| answers.answers[place].clone())
            .collect(),
    })
}

fn best(outputs: &Tensor) -> Result<Vec<usize>> {
    let best: Vec<i64> = outputs.f_argmax(1, false)?.try_into()?;
    Ok(best.into_iter().map(|place| place as usize).collect())
}

/// An error that names the first row with a number that is none.
pub(crate) fn finite(outputs: &Tensor, ids: &[String]) -> Result<()> {
    let bad: Vec<i64> = outputs
        .f_isfinite()?
        .f_all_dim(1, false)?
        .f_logical_not()?
        .f_nonzero()?
        .f_flatten(0, -1)?
        .try_into()?;
    match bad.first() {
        Some(&row) => Err(Error::Other(format!(
            "{}: the head's output is not a number (and of {} rows in all)",
            ids[row as usize],
            bad.len()
        ))),
        None => Ok(()),
    }
}

/// The answers beside what is right.
pub(crate) fn predictions(
    network: &mut Network,
    rows: &Rows,
    max_tokens: usize,
    settings: &Settings,
    progress: &Progress,
) -> Result<Predictions> {
    let outputs = outputs(network, rows, max_tokens, settings, progress)?;
    let dataset = rows.dataset();
    let ids: Vec<String> = rows.indices().iter().map(|&row| dataset.id(row)).collect();
    let labels: Vec<Label> = rows
        .indices()
        .iter()
        .map(|&row| dataset.label(row))
        .collect();
    let wrong = |row: usize| {
        Error::Other(format!(
            "{} has no label that the answer could be compared with",
            ids[row]
        ))
    };
    finite(&outputs, &ids)?;
    let outputs = match &network.output {
        Output::Classes { classes } => {
            let gold = labels.iter().enumerate().map(|(row, l)| {
                if let Label::Class(c) = l {
                    Ok(*c)
                } else {
                    Err(wrong(row))
                }
            });
            let gold = gold.collect::<Result<Vec<_>>>()?;
            let logits = Logits::new(outputs.f_flatten(0, -1)?.try_into()?, *classes, &ids)?;
            Outputs::Classes {
                predicted: logits.best(),
                gold,
                logits: Some(logits),
            }
        }
        Output::Value => {
            let gold = labels.iter().enumerate().map(|(row, l)| {
                if let Label::Value(v) = l {
                    Ok(*v)
                } else {
                    Err(wrong(row))
                }
            });
            let predicted: Vec<f32> = outputs.f_flatten(0, -1)?.try_into()?;
            Outputs::Values {
                predicted: predicted.into_iter().map(f64::from).collect(),
                gold: gold.collect::<Result<_>>()?,
            }
        }
        Output::Answers { .. } => {
            let gold = labels.into_iter().enumerate().map(|(row, l)| {
                if let Label::Answers(a) = l {
                    Ok(a)
                } else {
                    Err(wrong(row))
                }
            });
            Outputs::Answers {
                predicted: answers(network, &outputs)?,
                gold: gold.collect::<Result<_>>()?,
            }
        }
    };
    let clusters = shared(
        rows.indices()
            .iter()
            .map(|&row| dataset.cluster(row))
            .collect(),
    );
    Ok(Predictions {
        ids,
        clusters,
        outputs,
    })
}

/// The first metric's score of predictions; None where it is not defined, as a correlation is not
/// of answers that are all the same.
pub(crate) fn scored(
    metrics: &[Metric],
    predictions: &Predictions,
    task: &str,
    split: &str,
) -> Option<MetricValue> {
    scores(
        metrics.first().map(std::slice::from_ref)?,
        predictions,
        task,
        split,
    )
    .into_iter()
    .next()
}

/// The best score that is reachable with the answers of the vocabulary, by the official rule.
pub(crate) fn ceiling(network: &Network, rows: &Rows) -> Option<f64> {
    let Output::Answers { answers } = &network.output else {
        return None;
    };
    let known = answers.places();
    let best = |&row: &usize| {
        let Label::Answers(given) = rows.dataset().label(row) else {
            return 0.0;
        };
        let processed: Vec<String> = given
            .iter()
            .map(|answer| flava_tasks::metrics::process_answer(answer))
            .collect();
        let score = |answer: &String| {
            if known.contains_key(answer.as_str()) {
                official_accuracy(&given, answer)
            } else {
                0.0
            }
        };
        processed.iter().map(score).fold(0.0, f64::max)
    };
    Some(rows.indices().iter().map(best).sum::<f64>() / rows.len().max(1) as f64)
}
