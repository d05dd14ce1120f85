//! A network's answers to the rows of a split.

use flava_model::{
    processor::Pixels,
    runtime::{Autocast, Precision, Progress, distributed::Group},
};
use flava_results::MetricValue;
use flava_tasks::{
    Label, Metric, Outputs, Predictions, Tower,
    predictions::{Logits, shared},
};
use tch::{Device, Kind, Tensor};

use super::{
    Network, Output,
    batches::{encodings, inputs, preparation},
    network::Inputs,
};
use crate::{
    Error, Result, Settings, check_interrupted,
    features::{Fitting, Prepared, RowBatches, Rows, non_finite_rows},
    score::scores,
};

/// What a network is asked.
pub(crate) struct Asked<'a> {
    pub(crate) rows: &'a Rows,
    /// Longest text.
    pub(crate) max_tokens: usize,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// The processes that answer together, which all have the same network.
    pub(crate) group: &'a Group,
}

/// The head's numbers for each row, \[rows, width\], f32 on the CPU. The first broken image fails
/// it.
pub(crate) fn outputs(network: &mut Network, asked: &Asked) -> Result<Tensor> {
    Ok(outputs_and_broken(network, asked, false)?.0)
}

/// The places of the rows whose images are not broken, and the head's numbers for those, \[places,
/// width\]; where broken ones are not to be left out the first fails it.
pub(crate) fn outputs_of_unbroken(
    network: &mut Network,
    asked: &Asked,
) -> Result<(Vec<usize>, Tensor)> {
    let skip = asked.settings.skip_broken;
    let (outputs, broken) = outputs_and_broken(network, asked, skip)?;
    let mut places: Vec<usize> = (0..asked.rows.len()).collect();
    if broken.is_empty() {
        return Ok((places, outputs));
    }
    places.retain(|place| !broken.contains(place));
    let kept: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    let kept = outputs.f_index_select(0, &Tensor::f_from_slice(&kept)?)?;
    Ok((places, kept))
}

/// The head's numbers for each row, and the places of rows with broken images where such are to be
/// left out: theirs mean nothing.
fn outputs_and_broken(
    network: &mut Network,
    asked: &Asked,
    skip: bool,
) -> Result<(Tensor, Vec<usize>)> {
    let _guard = tch::no_grad_guard();
    let Asked {
        rows,
        settings,
        group,
        ..
    } = *asked;
    let device = network.store.device();
    let texts = encodings(rows, network, asked.max_tokens)?;
    let images = preparation(network, settings);
    // Texts of like length go together; rows with images stay in their order, in which they are
    // read best.
    let batches = match &images {
        Some(_) => RowBatches::in_order(rows.len(), settings.batch_size.rows(device)),
        None => RowBatches::by_length(&texts, device),
    };
    // Each process answers its part of the batches, and the sum with the others' zeros is whole.
    let own = group.share(batches.positions.len());
    let positions = &batches.positions[own];
    let task = format!("{}: answers", rows.split.name);
    let kind = answers_kind(network.feature.tower);
    let bar = asked.progress.task(&task, &kind, rows.len());
    let size = [rows.len() as i64, network.output.width()];
    let whole = Tensor::f_zeros(size, (Kind::Float, Device::Cpu))?;
    let mut loader = images.map(|images| images.start(rows, positions.to_vec()));
    let mut broken = Vec::new();
    let fitting = Fitting::all(settings.batch_size);
    for positions in positions {
        check_interrupted()?;
        let prepared = loader.as_mut().and_then(Iterator::next);
        let first = positions.start;
        let mut left_out = |place: usize, id: &str, reason: &str| {
            asked.progress.left_out(id, reason);
            broken.push(first + place);
        };
        let left_out: Option<&mut LeftOut> = if skip { Some(&mut left_out) } else { None };
        let pixels = pixels_of(prepared.unwrap_or_default(), left_out)?;
        let rows = batches.rows(positions.clone());
        let parts = fitting.each(rows.len(), asked.progress, |some| {
            let texts = rows[some.clone()].iter().filter_map(|&row| texts.get(row));
            let inputs = inputs(texts, pixels.get(some).unwrap_or_default(), network)?;
            outputs_of_batch(network, &inputs, settings)
        })?;
        let (start, count) = (positions.start as i64, positions.len() as i64);
        let answers = Tensor::f_cat(&parts, 0)?;
        whole.f_narrow(0, start, count)?.f_copy_(&answers)?;
        bar.did(positions.len());
    }
    group.sum(&whole)?.wait()?;
    Ok((batches.in_row_order(&whole)?, broken))
}

/// What answering for a row is called among kinds of work.
pub(crate) fn answers_kind(tower: Tower) -> String {
    format!("{}: answers", tower.name())
}

/// Takes note of a row that is left out: its place, what it is called, and why.
type LeftOut<'a> = dyn FnMut(usize, &str, &str) + 'a;

/// The images of a batch. One that is broken fails it, or where such are left out, which is told by
/// its place, another stands in its place, so that the others stay where they are.
fn pixels_of(
    prepared: Vec<Result<Prepared>>,
    mut left_out: Option<&mut LeftOut>,
) -> Result<Vec<Pixels>> {
    let mut pixels: Vec<Option<Pixels>> = Vec::with_capacity(prepared.len());
    for (place, row) in prepared.into_iter().enumerate() {
        match (row, &mut left_out) {
            (Ok(row), _) => pixels.push(Some(row.pixels)),
            (Err(Error::Row { id, reason }), Some(left_out)) => {
                left_out(place, &id, &reason);
                pixels.push(None);
            }
            (Err(error), _) => return Err(error),
        }
    }
    let any = pixels.iter().flatten().next().cloned();
    let filled = pixels
        .into_iter()
        .filter_map(|one| one.or_else(|| any.clone()));
    Ok(filled.collect())
}

fn outputs_of_batch(network: &mut Network, inputs: &Inputs, settings: &Settings) -> Result<Tensor> {
    let _autocast = Autocast::new(network.store.device(), autocast_of(settings))?;
    let outputs = network.forward(inputs, false)?;
    Ok(outputs.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?)
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
            .map(|position| answers.answers[position].clone())
            .collect(),
    })
}

fn best(outputs: &Tensor) -> Result<Vec<usize>> {
    let best: Vec<i64> = outputs.f_argmax(1, false)?.try_into()?;
    Ok(best.into_iter().map(|position| position as usize).collect())
}

/// An error that names the first row with a number that is none.
pub(crate) fn finite(outputs: &Tensor, ids: &[String]) -> Result<()> {
    let bad = non_finite_rows(outputs)?;
    match bad.first() {
        Some(&row) => Err(Error::NotFinite(format!(
            "{}: the head's output is not a number (and of {} rows in all)",
            ids[row as usize],
            bad.len()
        ))),
        None => Ok(()),
    }
}

/// The answers beside what is right.
pub(crate) fn predictions(network: &mut Network, asked: &Asked) -> Result<Predictions> {
    let (rows, outputs) = (asked.rows, outputs(network, asked)?);
    let ids = rows.ids();
    finite(&outputs, &ids)?;
    let outputs = match &network.output {
        Output::Classes { classes } => of_classes(&outputs, *classes, rows, &ids)?,
        Output::Value => of_values(&outputs, rows)?,
        Output::Answers { .. } => Outputs::Answers {
            predicted: answers(network, &outputs)?,
            gold: gold(rows, |label| match label {
                Label::Answers(given) => Some(given),
                _ => None,
            })?,
        },
    };
    let cluster = |&row: &usize| rows.dataset().cluster(row);
    let clusters = shared(rows.indices().iter().map(cluster).collect());
    Ok(Predictions {
        ids,
        clusters,
        outputs,
    })
}

fn of_classes(outputs: &Tensor, classes: usize, rows: &Rows, ids: &[String]) -> Result<Outputs> {
    let gold = gold(rows, |label| match label {
        Label::Class(class) => Some(class),
        _ => None,
    })?;
    let logits = Logits::new(outputs.f_flatten(0, -1)?.try_into()?, classes, ids)?;
    Ok(Outputs::Classes {
        predicted: logits.best(),
        gold,
        logits: Some(logits),
    })
}

fn of_values(outputs: &Tensor, rows: &Rows) -> Result<Outputs> {
    let predicted: Vec<f32> = outputs.f_flatten(0, -1)?.try_into()?;
    let gold = gold(rows, |label| match label {
        Label::Value(value) => Some(value),
        _ => None,
    })?;
    Ok(Outputs::Values {
        predicted: predicted.into_iter().map(f64::from).collect(),
        gold,
    })
}

/// What is right of each row, where its label is of that kind.
fn gold<T>(rows: &Rows, of: impl Fn(Label) -> Option<T>) -> Result<Vec<T>> {
    let dataset = rows.dataset();
    let gold = |&row: &usize| {
        of(dataset.label(row)).ok_or_else(|| Error::RowLacks {
            id: dataset.id(row),
            what: "label that the answer could be compared with",
        })
    };
    rows.indices().iter().map(gold).collect()
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
    match &network.output {
        Output::Answers { answers } => Some(answers.ceiling(rows.dataset(), rows.indices())),
        _ => None,
    }
}
