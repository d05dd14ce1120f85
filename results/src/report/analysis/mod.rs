//! What is read out of predictions, small enough to be kept while those of the next task are read.

mod answers;
mod calibration;
mod classes;
mod ranks;

use flava_tasks::{Outputs, Predictions};

pub(super) use self::{
    answers::{AnswersSeen, ValuesSeen},
    calibration::Calibration,
    classes::ClassesSeen,
    ranks::{Query, QuerySide, RanksSeen},
};
use super::options::ReportOptions;
use crate::Record;

/// What predictions show.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) classes: Option<ClassesSeen>,
    pub(super) calibration: Option<Calibration>,
    pub(super) ranks: Option<RanksSeen>,
    pub(super) answers: Option<AnswersSeen>,
    pub(super) values: Option<ValuesSeen>,
}

impl Seen {
    pub(super) fn of(record: &Record, predictions: &Predictions, options: &ReportOptions) -> Self {
        let most = options.most_rows;
        match &predictions.outputs {
            Outputs::Classes {
                predicted,
                gold,
                logits,
            } => Self {
                classes: ClassesSeen::of(predicted, gold, most),
                calibration: logits.as_ref().and_then(|logits| {
                    let cosines = record.method == "zero_shot";
                    Calibration::of(predictions, logits, cosines, most)
                }),
                ..Self::default()
            },
            Outputs::Values { predicted, gold } => Self {
                values: ValuesSeen::of(&predictions.ids, predicted, gold, most),
                ..Self::default()
            },
            Outputs::Answers { predicted, gold } => Self {
                answers: AnswersSeen::of(predicted, gold, most),
                ..Self::default()
            },
            Outputs::Ranks { texts, images } => Self {
                ranks: RanksSeen::of(texts, images, options),
                ..Self::default()
            },
        }
    }
}
