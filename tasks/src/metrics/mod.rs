//! From predictions to scores, with their uncertainty.

mod mean;
mod retrieval;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use retrieval::rank;

use crate::Method;

/// Quantile of the normal distribution for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// What is computed from predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// Share of right answers.
    #[serde(rename = "accuracy")]
    Accuracy,
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
    /// Matthews' correlation of two classes.
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
}

impl Metric {
    /// Whether predictions of a method can be scored so.
    pub fn fits(self, method: &Method) -> bool {
        let classes = matches!(self, Self::Accuracy | Self::MeanPerClass);
        let ranks = [Self::TextRecall1, Self::TextRecall5, Self::TextRecall10, Self::ImageRecall1, Self::ImageRecall5, Self::ImageRecall10];
        match method {
            Method::LinearProbe { .. } => classes || self == Self::RocAuc,
            Method::ZeroShot { .. } => classes,
            Method::Retrieval {} => ranks.contains(&self),
            Method::FineTune { .. } => !ranks.contains(&self),
        }
    }

    /// As it is written in files and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
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
        }
    }

    /// The score of `predictions`; None if they are of a kind that this metric does not read, or empty.
    pub fn score(self, predictions: &Predictions) -> Option<Score> {
        match (self, predictions) {
            (Self::Accuracy, Predictions::Classes { predicted, gold, clusters, .. }) => {
                let right: Vec<f64> = predicted.iter().zip(gold).map(|(p, g)| f64::from(p == g)).collect();
                mean::share(&right, clusters.as_deref())
            }
            (Self::MeanPerClass, Predictions::Classes { predicted, gold, .. }) => mean::per_class(predicted, gold),
            (Self::TextRecall1, Predictions::Ranks { texts, .. }) => retrieval::recall(texts, 1),
            (Self::TextRecall5, Predictions::Ranks { texts, .. }) => retrieval::recall(texts, 5),
            (Self::ImageRecall1, Predictions::Ranks { images, .. }) => retrieval::recall(images, 1),
            (Self::TextRecall10, Predictions::Ranks { texts, .. }) => retrieval::recall(texts, 10),
            (Self::ImageRecall5, Predictions::Ranks { images, .. }) => retrieval::recall(images, 5),
            (Self::ImageRecall10, Predictions::Ranks { images, .. }) => retrieval::recall(images, 10),
            _ => None,
        }
    }
}

/// What a protocol predicted, with the ids of the rows in order.
#[derive(Clone, Debug)]
pub enum Predictions {
    /// One class each.
    Classes {
        /// Of the rows.
        ids: Vec<String>,
        /// The answer.
        predicted: Vec<usize>,
        /// The truth.
        gold: Vec<usize>,
        /// Rows of the same number share a picture and are no independent trials.
        clusters: Option<Vec<usize>>,
    },
    /// The rank (from 1) of the best right item for each query.
    Ranks {
        /// For each picture, among all captions.
        texts: Vec<Ranked>,
        /// For each caption, among all pictures.
        images: Vec<Ranked>,
    },
}

/// A query's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The picture the query belongs to.
    pub picture: usize,
    /// Rank of the best right item, ties counted against it.
    pub rank: usize,
}

/// A metric's value and its uncertainty, as shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    pub ci_high: f64,
    /// Rows or queries.
    pub n: usize,
}

impl Score {
    /// With the interval of a normal distribution, cut to shares.
    fn normal(value: f64, standard_error: f64, n: usize) -> Self {
        let half = Z * standard_error;
        Self { value, standard_error, ci_low: (value - half).max(0.0), ci_high: (value + half).min(1.0), n }
    }
}

/// The members of each cluster, in order of the clusters.
fn grouped(clusters: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, &cluster) in clusters.iter().enumerate() {
        groups.entry(cluster).or_default().push(row);
    }
    groups
}
