//! What is right for training rows, as numbers.

use std::collections::HashMap;

use flava_tasks::{
    Label,
    metrics::{process_answer, soft_score},
};
use tch::Tensor;

use super::Output;
use crate::{Error, Result, features::Rows};

/// What is right for a row.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Class(i64),
    Value(f32),
    /// Scores of the answers of the vocabulary that have any.
    Answers(Vec<(usize, f32)>),
}

/// What is right for each row.
pub(super) fn targets(rows: &Rows, output: &Output) -> Result<Vec<Target>> {
    let known = if let Output::Answers { answers } = output {
        answers.positions()
    } else {
        HashMap::new()
    };
    let target = |&row: &usize| {
        target(rows.dataset().label(row), output, &known).ok_or_else(|| Error::RowLacks {
            id: rows.dataset().id(row),
            what: "label of the kind that its neighbours have",
        })
    };
    rows.indices().iter().map(target).collect()
}

/// None where the label is of another kind than the output.
fn target(label: Label, output: &Output, known: &HashMap<&str, usize>) -> Option<Target> {
    match (label, output) {
        (Label::Class(class), Output::Classes { classes }) if class < *classes => {
            Some(Target::Class(class as i64))
        }
        (Label::Value(value), Output::Value) if value.is_finite() => {
            Some(Target::Value(value as f32))
        }
        (Label::Answers(given), Output::Answers { .. }) => {
            let given: Vec<String> = given.iter().map(|answer| process_answer(answer)).collect();
            Some(Target::Answers(scores_of_answers(&given, known)))
        }
        _ => None,
    }
}

/// The given answers of the vocabulary, each once, with their scores.
fn scores_of_answers(given: &[String], known: &HashMap<&str, usize>) -> Vec<(usize, f32)> {
    let mut scores: Vec<(usize, f32)> = Vec::new();
    for answer in given {
        let Some(&position) = known.get(answer.as_str()) else {
            continue;
        };
        if !scores.iter().any(|(other, _)| *other == position) {
            scores.push((position, soft_score(given, answer) as f32));
        }
    }
    scores
}

/// The targets of a batch: classes \[batch\], values \[batch\], or scores \[batch, width\].
pub(super) fn target_tensor(targets: &[&Target], width: i64) -> Result<Tensor> {
    Ok(match targets.first() {
        Some(Target::Class(_)) => {
            let class = |target: &&Target| match target {
                Target::Class(class) => *class,
                _ => -100,
            };
            let classes: Vec<i64> = targets.iter().map(class).collect();
            Tensor::f_from_slice(&classes)?
        }
        Some(Target::Value(_)) => {
            let value = |target: &&Target| match target {
                Target::Value(value) => *value,
                _ => f32::NAN,
            };
            let values: Vec<f32> = targets.iter().map(value).collect();
            Tensor::f_from_slice(&values)?
        }
        _ => {
            let scores = dense_scores(targets, width as usize);
            Tensor::f_from_slice(&scores)?.f_view([targets.len() as i64, width])?
        }
    })
}

/// The scores of all answers of the vocabulary, row by row.
fn dense_scores(targets: &[&Target], width: usize) -> Vec<f32> {
    let mut flat = vec![0f32; targets.len() * width];
    for (row, target) in targets.iter().enumerate() {
        if let Target::Answers(scores) = target {
            for (answer, score) in scores {
                flat[row * width + answer] = *score;
            }
        }
    }
    flat
}
