//! The metrics by name, and which methods they score.

use serde::{Deserialize, Serialize};

use crate::Method;

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
    /// Share of images that have one of their captions among the best k.
    #[serde(rename = "text_recall@1")]
    TextRecall1,
    /// The same among the best five.
    #[serde(rename = "text_recall@5")]
    TextRecall5,
    /// The same among the best ten.
    #[serde(rename = "text_recall@10")]
    TextRecall10,
    /// Share of captions that have their image among the best k.
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
    pub(crate) fn recall(self) -> Option<(bool, usize)> {
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

    /// What its values are: a "share" of 0 to 1, or a "correlation" of -1 to 1.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Matthews | Self::Pearson | Self::Spearman => "correlation",
            _ => "share",
        }
    }

    /// Whether more of it is better.
    pub fn higher_is_better(self) -> bool {
        true // of all that there are
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
}
