//! Metrics that are means: what each row contributes, and which rows go together.

use std::sync::Arc;

use super::{
    metric::Metric,
    vqa::{lenient_accuracy, official_accuracy},
};
use crate::{
    Outputs, Predictions,
    predictions::{Logits, shared},
};

/// How many of the best classes [`Metric::Top5`] looks at.
const BEST: usize = 5;

impl Metric {
    /// What each row (or query) contributes, of a metric that is a mean over them; None of others.
    pub fn per_row(self, predictions: &Predictions) -> Option<Vec<f64>> {
        match (self, &predictions.outputs) {
            (
                Self::Accuracy,
                Outputs::Classes {
                    predicted, gold, ..
                },
            ) => {
                let pairs = predicted.iter().zip(gold);
                Some(pairs.map(|(p, g)| f64::from(p == g)).collect())
            }
            (Self::Top5, Outputs::Classes { gold, logits, .. }) => {
                among_the_best(logits.as_ref()?, gold)
            }
            (_, Outputs::Answers { predicted, gold }) => self.of_answers(predicted, gold),
            (_, Outputs::Ranks { texts, images }) => {
                let (of_texts, k) = self.recall()?;
                let queries = if of_texts { texts } else { images };
                let found = queries.iter().map(|ranked| f64::from(ranked.rank <= k));
                Some(found.collect())
            }
            _ => None,
        }
    }

    fn of_answers(self, predicted: &[String], gold: &[Arc<[Arc<str>]>]) -> Option<Vec<f64>> {
        let accuracy: fn(&[Arc<str>], &str) -> f64 = match self {
            Self::VqaAccuracy => official_accuracy,
            Self::VqaAccuracyLenient => lenient_accuracy,
            _ => return None,
        };
        let pairs = predicted.iter().zip(gold);
        Some(
            pairs
                .map(|(answer, given)| accuracy(given, answer))
                .collect(),
        )
    }

    /// Which of the rows of [`Self::per_row`] share an image; None where none do.
    pub(super) fn row_clusters(self, predictions: &Predictions) -> Option<Vec<usize>> {
        let Outputs::Ranks { texts, images } = &predictions.outputs else {
            return predictions.clusters.clone();
        };
        let queries = if self.recall()?.0 { texts } else { images };
        shared(queries.iter().map(|ranked| ranked.image).collect())
    }
}

/// Whether each row's class is among its best five; None of fewer classes.
fn among_the_best(logits: &Logits, gold: &[usize]) -> Option<Vec<f64>> {
    // Of equal logits the lower class comes first.
    let position = |row: &[f32], gold: usize| {
        let better = |(class, value): (usize, &f32)| {
            *value > row[gold] || (*value == row[gold] && class < gold)
        };
        row.iter().enumerate().filter(|pair| better(*pair)).count()
    };
    let rows = logits.rows().zip(gold);
    let found = rows.map(|(row, &gold)| f64::from(position(row, gold) < BEST));
    (logits.classes() >= BEST).then(|| found.collect())
}
