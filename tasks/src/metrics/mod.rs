//! From predictions to scores, with their uncertainty.

mod bootstrap;
mod clusters;
mod compare;
mod confusion;
mod mean;
mod metric;
mod ranks;
mod retrieval;
mod rows;
mod score;
mod shared_draws;
mod statistic;
mod vqa;

pub use compare::{Difference, Test, holm};
pub use metric::Metric;
pub use retrieval::rank;
pub use score::{Interval, Score};
pub use shared_draws::SharedDraws;
pub use vqa::{lenient_accuracy, official_accuracy, process_answer, soft_score};

use self::{
    ranks::Ordered,
    score::{Estimate, Scale},
};
use crate::{Outputs, Predictions};

impl Metric {
    /// The score of `predictions`; None where it is not defined: predictions of another kind, none
    /// at all, five best of fewer classes, the area of one class, the correlation of a constant.
    ///
    /// `purpose`, such as the task's name, seeds the bootstrap where there is one.
    pub fn score(self, predictions: &Predictions, purpose: &str) -> Option<Score> {
        if let Some(values) = self.per_row(predictions) {
            return mean::mean(&values, self.row_clusters(predictions).as_deref());
        }
        match (self, &predictions.outputs) {
            (
                Self::MeanPerClass,
                Outputs::Classes {
                    predicted, gold, ..
                },
            ) => mean::per_class(predicted, gold),
            (Self::RocAuc, _) => area(predictions).or_else(|| self.resampled(predictions, purpose)),
            _ => self.resampled(predictions, purpose),
        }
    }

    /// The score with the bootstrap's error.
    fn resampled(self, predictions: &Predictions, purpose: &str) -> Option<Score> {
        let (n, clusters) = (predictions.len(), predictions.clusters.as_deref());
        let metric = self.statistic(predictions)?;
        let value = metric(&vec![1; n])?;
        let standard_error =
            bootstrap::standard_error(&format!("{purpose} {}", self.name()), n, clusters, metric);
        let scale = match self {
            Self::Matthews | Self::Pearson | Self::Spearman => Scale::Correlation,
            _ => Scale::Share,
        };
        let estimate = Estimate {
            value,
            standard_error,
            n,
        };
        Some(estimate.transformed(scale, Interval::Bootstrap))
    }

    /// The value alone, without its interval: what many fits are compared by.
    pub fn value(self, predictions: &Predictions, purpose: &str) -> Option<f64> {
        if let Some(values) = self.per_row(predictions) {
            return (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        }
        match &predictions.outputs {
            Outputs::Classes {
                predicted, gold, ..
            } if self == Self::MeanPerClass => mean::per_class(predicted, gold).map(|s| s.value),
            _ => self.statistic(predictions).map_or_else(
                || self.score(predictions, purpose).map(|score| score.value),
                |statistic| statistic(&vec![1; predictions.len()]),
            ),
        }
    }
}

/// The area under the curve with `DeLong`'s error; None where that is not known.
fn area(predictions: &Predictions) -> Option<Score> {
    let Outputs::Classes { gold, logits, .. } = &predictions.outputs else {
        return None;
    };
    if predictions.clusters.is_some() {
        return None;
    }
    let n = predictions.len();
    let order = Ordered::new(&logits.as_ref()?.margins()?);
    let estimate = Estimate {
        value: order.area(gold, &vec![1; n])?,
        standard_error: order.area_error(gold)?,
        n,
    };
    Some(estimate.transformed(Scale::Share, Interval::Delong))
}
