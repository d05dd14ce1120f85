//! What a head's numbers mean, and its loss.

use flava_tasks::{
    Label, Recipe, Task,
    metrics::{process_answer, soft_score},
    sources::AnswerVocabulary,
};
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use crate::{Error, Result, features::Rows};

/// What the head's numbers mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Output {
    /// One class of many.
    Classes {
        /// How many.
        classes: usize,
    },
    /// An answer of a vocabulary, which may be right in part.
    Answers {
        /// The vocabulary, in the form in which answers are compared.
        answers: AnswerVocabulary,
    },
    /// A number.
    Value,
}

impl Output {
    /// What a task's labels ask for.
    pub(crate) fn of(task: &Task, rows: &Rows, recipe: &Recipe) -> Result<Self> {
        match rows.dataset().label(0) {
            Label::Class(_) => Ok(Self::Classes {
                classes: task.classes,
            }),
            Label::Value(_) => Ok(Self::Value),
            Label::Answers(_) => Ok(Self::Answers {
                answers: vocabulary(rows, recipe.answer_min_count)?,
            }),
            Label::Classes(_) | Label::None => Err(Error::UnfitRows(format!(
                "the rows of {} have no labels that a head could be trained on",
                task.name
            ))),
        }
    }

    /// Numbers of the head.
    pub(crate) fn width(&self) -> i64 {
        match self {
            Self::Classes { classes } => *classes as i64,
            Self::Answers { answers } => answers.answers.len() as i64,
            Self::Value => 1,
        }
    }

    /// What the loss is called in the log.
    pub(crate) fn loss_name(&self) -> &'static str {
        match self {
            Self::Classes { .. } => "cross_entropy",
            Self::Answers { .. } => "binary_cross_entropy",
            Self::Value => "squared_error",
        }
    }

    /// The loss of outputs \[batch, width\] against targets, a mean over the batch; of classes so
    /// much of the target is given to all alike.
    pub(crate) fn loss(
        &self,
        outputs: &Tensor,
        targets: &Tensor,
        smoothing: f64,
    ) -> Result<Tensor> {
        let outputs = outputs.f_to_kind(Kind::Float)?;
        let (mean, none) = (Reduction::Mean, None::<Tensor>);
        Ok(match self {
            Self::Classes { .. } => {
                outputs.f_cross_entropy_loss(targets, none, mean, -100, smoothing)?
            }
            // Summed over the answers, as it is usual for VQA.
            Self::Answers { .. } => outputs
                .f_binary_cross_entropy_with_logits(targets, none, None::<Tensor>, mean)?
                .f_mul_scalar(self.width() as f64)?,
            Self::Value => outputs.f_squeeze_dim(1)?.f_mse_loss(targets, mean)?,
        })
    }
}

/// The answers that are that of enough training questions.
fn vocabulary(rows: &Rows, min_count: usize) -> Result<AnswerVocabulary> {
    let answers = AnswerVocabulary::count(&[rows.dataset()], min_count, process_answer);
    if answers.answers.len() < 2 {
        return Err(Error::Argument {
            argument: "answer_min_count",
            value: min_count.to_string(),
            reason: "fewer than two answers are that of so many training questions".into(),
        });
    }
    check_targets(rows, &answers)?;
    Ok(answers)
}

/// An answer is right in part by how many people gave it: where few were asked, nothing is.
fn check_targets(rows: &Rows, answers: &AnswerVocabulary) -> Result<()> {
    let known = answers.positions();
    let mut most = 0;
    for &row in rows.indices() {
        let Label::Answers(given) = rows.dataset().label(row) else {
            continue;
        };
        most = most.max(given.len());
        let given: Vec<String> = given.iter().map(|answer| process_answer(answer)).collect();
        let counts = |answer: &String| {
            known.contains_key(answer.as_str()) && soft_score(&given, answer) > 0.0
        };
        if given.iter().any(counts) {
            return Ok(());
        }
    }
    let reason = format!(
        "every target of the {} training rows is 0: they have at most {most} answers each",
        rows.len()
    );
    let remedy = "VQA's accuracy takes the answers of ten people, and one that a single person gave counts for nothing. \
                  Repeat each answer ten times, or give the answers as classes (a label column) with metric accuracy";
    Err(Error::UnfitRows(format!("{reason}; {remedy}")))
}
