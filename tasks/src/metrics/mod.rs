//! From predictions to scores, with their uncertainty.

mod bootstrap;
mod compare;
mod confusion;
mod mean;
mod ranks;
mod retrieval;
mod score;
mod vqa;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use compare::{Difference, Test, holm};
pub use retrieval::rank;
pub use score::{Interval, Score};
pub use vqa::{lenient_accuracy, official_accuracy, process_answer, soft_score};

use self::{
    confusion::Confusion,
    ranks::{Ordered, Pairs},
    score::Scale,
};
use crate::{Method, Outputs, Predictions, predictions::shared};

/// What is computed from predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// Share of right answers.
    #[serde(rename = "accuracy")]
    Accuracy,
    /// Share of rows whose class is among the best five.
    #[serde(rename = "top5")]
    Top5,
    /// Mean over the classes of the share of right answers.
    #[serde(rename = "mean_per_class")]
    MeanPerClass,
    /// Share of pictures that have one of their captions among the best k.
    #[serde(rename = "text_recall@1")]
    TextRecall1,
    /// The same among the best five.
    #[serde(rename = "text_recall@5")]
    TextRecall5,
    /// The same among the best ten.
    #[serde(rename = "text_recall@10")]
    TextRecall10,
    /// Share of captions that have their picture among the best k.
    #[serde(rename = "image_recall@1")]
    ImageRecall1,
    /// The same among the best five.
    #[serde(rename = "image_recall@5")]
    ImageRecall5,
    /// The same among the best ten.
    #[serde(rename = "image_recall@10")]
    ImageRecall10,
    /// Matthews' correlation; of more than two classes the `R_K` statistic.
    #[serde(rename = "matthews")]
    Matthews,
    /// F1 of class 1.
    #[serde(rename = "f1")]
    F1,
    /// Mean of accuracy and F1.
    #[serde(rename = "accuracy_f1_mean")]
    AccuracyF1Mean,
    /// Pearson's correlation.
    #[serde(rename = "pearson")]
    Pearson,
    /// Spearman's correlation, ties at their middle rank.
    #[serde(rename = "spearman")]
    Spearman,
    /// Area under the receiver operating characteristic.
    #[serde(rename = "roc_auc")]
    RocAuc,
    /// The official accuracy of VQA.
    #[serde(rename = "vqa_accuracy")]
    VqaAccuracy,
    /// VQA's accuracy with answers always brought into one form.
    #[serde(rename = "vqa_accuracy_lenient")]
    VqaAccuracyLenient,
}

impl Metric {
    /// Whether predictions of a method can be scored so.
    pub fn fits(self, method: &Method) -> bool {
        let classes = matches!(self, Self::Accuracy | Self::MeanPerClass | Self::Top5);
        match method {
            Method::LinearProbe { .. } | Method::Knn { .. } | Method::FewShot { .. } => {
                classes
                    || matches!(
                        self,
                        Self::RocAuc | Self::Matthews | Self::F1 | Self::AccuracyF1Mean
                    )
            }
            Method::ZeroShot { .. } => classes,
            Method::Retrieval { .. } => self.recall().is_some(),
            Method::FineTune { .. } => self.recall().is_none(),
        }
    }

    /// Of a retrieval metric: whether texts are found (or images), and among how many.
    fn recall(self) -> Option<(bool, usize)> {
        Some(match self {
            Self::TextRecall1 => (true, 1),
            Self::TextRecall5 => (true, 5),
            Self::TextRecall10 => (true, 10),
            Self::ImageRecall1 => (false, 1),
            Self::ImageRecall5 => (false, 5),
            Self::ImageRecall10 => (false, 10),
            _ => return None,
        })
    }

    /// As it is written in files and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Top5 => "top5",
            Self::MeanPerClass => "mean_per_class",
            Self::TextRecall1 => "text_recall@1",
            Self::TextRecall5 => "text_recall@5",
            Self::ImageRecall1 => "image_recall@1",
            Self::TextRecall10 => "text_recall@10",
            Self::ImageRecall5 => "image_recall@5",
            Self::ImageRecall10 => "image_recall@10",
            Self::Matthews => "matthews",
            Self::F1 => "f1",
            Self::AccuracyF1Mean => "accuracy_f1_mean",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
            Self::RocAuc => "roc_auc",
            Self::VqaAccuracy => "vqa_accuracy",
            Self::VqaAccuracyLenient => "vqa_accuracy_lenient",
        }
    }

    /// The score of `predictions`; None where it is not defined: predictions of another kind, none
    /// at all, five best of fewer classes, the area of one class, the correlation of a constant.
    ///
    /// `purpose`, such as the task's name, seeds the bootstrap where there is one.
    pub fn score(self, predictions: &Predictions, purpose: &str) -> Option<Score> {
        if let Some(values) = self.per_row(predictions) {
            return mean::mean(&values, self.row_clusters(predictions).as_deref());
        }
        let (n, clusters) = (predictions.len(), predictions.clusters.as_deref());
        match (self, &predictions.outputs) {
            (
                Self::MeanPerClass,
                Outputs::Classes {
                    predicted, gold, ..
                },
            ) => return mean::per_class(predicted, gold),
            (
                Self::RocAuc,
                Outputs::Classes {
                    gold,
                    logits: Some(logits),
                    ..
                },
            ) if clusters.is_none() => {
                let order = Ordered::new(&logits.margins()?);
                let area = order.area(gold, &vec![1; n])?;
                if let Some(error) = order.area_error(gold) {
                    return Some(Score::transformed(
                        area,
                        error,
                        n,
                        Scale::Share,
                        Interval::Delong,
                    ));
                }
            }
            _ => {}
        }
        let metric = self.statistic(predictions)?;
        let value = metric(&vec![1; n])?;
        let error =
            bootstrap::standard_error(&format!("{purpose} {}", self.name()), n, clusters, metric);
        let scale = match self {
            Self::Matthews | Self::Pearson | Self::Spearman => Scale::Correlation,
            _ => Scale::Share,
        };
        Some(Score::transformed(
            value,
            error,
            n,
            scale,
            Interval::Bootstrap,
        ))
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

    /// What each row (or query) contributes, of a metric that is a mean over them; None of others.
    pub fn per_row(self, predictions: &Predictions) -> Option<Vec<f64>> {
        match (self, &predictions.outputs) {
            (
                Self::Accuracy,
                Outputs::Classes {
                    predicted, gold, ..
                },
            ) => Some(
                predicted
                    .iter()
                    .zip(gold)
                    .map(|(p, g)| f64::from(p == g))
                    .collect(),
            ),
            (
                Self::Top5,
                Outputs::Classes {
                    gold,
                    logits: Some(logits),
                    ..
                },
            ) if logits.classes() >= 5 => {
                // Of equal logits the lower class comes first.
                let place = |(row, &gold): (&[f32], &usize)| {
                    let better = |(class, value): (usize, &f32)| {
                        *value > row[gold] || (*value == row[gold] && class < gold)
                    };
                    row.iter().enumerate().filter(|pair| better(*pair)).count()
                };
                Some(
                    logits
                        .rows()
                        .zip(gold)
                        .map(|pair| f64::from(place(pair) < 5))
                        .collect(),
                )
            }
            (Self::VqaAccuracy, Outputs::Answers { predicted, gold }) => Some(
                predicted
                    .iter()
                    .zip(gold)
                    .map(|(answer, given)| official_accuracy(given, answer))
                    .collect(),
            ),
            (Self::VqaAccuracyLenient, Outputs::Answers { predicted, gold }) => Some(
                predicted
                    .iter()
                    .zip(gold)
                    .map(|(answer, given)| lenient_accuracy(given, answer))
                    .collect(),
            ),
            (_, Outputs::Ranks { texts, images }) => {
                let (of_texts, k) = self.recall()?;
                Some(
                    if of_texts { texts } else { images }
                        .iter()
                        .map(|ranked| f64::from(ranked.rank <= k))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    /// Which of the rows of [`Self::per_row`] share a picture; None where none do.
    fn row_clusters(self, predictions: &Predictions) -> Option<Vec<usize>> {
        let Outputs::Ranks { texts, images } = &predictions.outputs else {
            return predictions.clusters.clone();
        };
        let queries = if self.recall()?.0 { texts } else { images };
        shared(queries.iter().map(|ranked| ranked.picture).collect())
    }

    /// The metric as a function of how often each row counts, of those that are no mean over rows.
    fn statistic(self, predictions: &Predictions) -> Option<Statistic<'_>> {
        Some(match (self, &predictions.outputs) {
            (
                Self::Matthews | Self::F1 | Self::AccuracyF1Mean,
                Outputs::Classes {
                    predicted, gold, ..
                },
            ) => {
                let table = Confusion::new(predicted, gold);
                match self {
                    Self::Matthews => Box::new(move |weights| table.matthews(weights)),
                    Self::F1 => Box::new(move |weights| table.f1(weights)),
                    _ => Box::new(move |weights| table.accuracy_f1_mean(weights)),
                }
            }
            (
                Self::RocAuc,
                Outputs::Classes {
                    gold,
                    logits: Some(logits),
                    ..
                },
            ) => {
                let order = Ordered::new(&logits.margins()?);
                Box::new(move |weights| order.area(gold, weights))
            }
            (
                Self::MeanPerClass,
                Outputs::Classes {
                    predicted, gold, ..
                },
            ) => {
                let classes = grouped(gold);
                Box::new(move |weights| {
                    let share = |(class, rows): (&usize, &Vec<usize>)| {
                        let total: u32 = rows.iter().map(|&row| weights[row]).sum();
                        let right: u32 = rows
                            .iter()
                            .filter(|&&row| predicted[row] == *class)
                            .map(|&row| weights[row])
                            .sum();
                        (total > 0).then(|| f64::from(right) / f64::from(total))
                    };
                    let shares: Vec<f64> = classes.iter().filter_map(share).collect();
                    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
                })
            }
            (Self::Pearson | Self::Spearman, Outputs::Values { predicted, gold }) => {
                let pairs = Pairs::new(predicted, gold);
                if pairs.constant() {
                    return None;
                }
                if self == Self::Pearson {
                    Box::new(move |weights| pairs.pearson(weights))
                } else {
                    Box::new(move |weights| pairs.spearman(weights))
                }
            }
            _ => return None,
        })
    }
}

/// A metric as a function of how often each row counts.
type Statistic<'a> = Box<dyn Fn(&[u32]) -> Option<f64> + Sync + 'a>;

/// The members of each cluster, in order of the clusters.
fn grouped(clusters: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, &cluster) in clusters.iter().enumerate() {
        groups.entry(cluster).or_default().push(row);
    }
    groups
}
