//! How a task is run, as its row says.

use serde::{Deserialize, Serialize};

use crate::Feature;

/// How a task is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Method {
    /// Logistic regression on frozen features; the penalty is chosen on the validation split, or on
    /// a held-out part of the training split where there is none.
    LinearProbe {
        /// What it reads.
        feature: Feature,
    },
    /// The classes of the nearest training rows, each weighted by how near it is (the protocol of
    /// DINO).
    Knn {
        /// What it reads.
        feature: Feature,
    },
    /// The linear probe fitted on a few training rows of each class, several times.
    FewShot {
        /// What it reads.
        feature: Feature,
    },
    /// The class whose prompts are nearest to the image. Without names and templates of its own,
    /// a row takes those that lie beside its data (`classnames.txt`,
    /// `zeroshot_classification_templates.txt`), or a user's.
    ZeroShot {
        /// One prompt each, `{c}` standing for the class name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        templates: Vec<String>,
        /// Class names in the order of the labels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        class_names: Vec<String>,
        /// Repositories that have both files, for sources that have none; the first that is there
        /// is used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        prompts: Vec<String>,
    },
    /// Images find their captions among all, and captions their images.
    Retrieval {
        /// How many of the best by cosine the matching head puts in a new order; none without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rerank: Option<usize>,
    },
    /// The encoder and a head on its CLS state are trained on the task.
    FineTune {
        /// What the head reads.
        feature: Feature,
    },
}

impl Method {
    /// As it is written in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LinearProbe { .. } => "linear_probe",
            Self::Knn { .. } => "knn",
            Self::FewShot { .. } => "few_shot",
            Self::ZeroShot { .. } => "zero_shot",
            Self::Retrieval { rerank: None } => "retrieval",
            Self::Retrieval { rerank: Some(_) } => "retrieval_reranked",
            Self::FineTune { .. } => "fine_tune",
        }
    }

    /// The states that a probe or a head reads, of methods that have one.
    pub fn feature(&self) -> Option<Feature> {
        match self {
            Self::LinearProbe { feature }
            | Self::Knn { feature }
            | Self::FewShot { feature }
            | Self::FineTune { feature } => Some(*feature),
            Self::ZeroShot { .. } | Self::Retrieval { .. } => None,
        }
    }

    /// What it reads of the model, as it is written in records.
    pub fn feature_name(&self) -> String {
        match self {
            Self::Retrieval { rerank: Some(_) } => "embeddings, itm_head".into(),
            _ => self
                .feature()
                .map_or_else(|| "embeddings".into(), Feature::name),
        }
    }

    /// Whether it fits something to training rows.
    pub fn trains(&self) -> bool {
        self.feature().is_some()
    }

    /// The probe's and its relatives': the same rows read by another method or from another
    /// feature.
    pub fn set_feature(&mut self, read: Feature) {
        if let Self::LinearProbe { feature } | Self::Knn { feature } | Self::FewShot { feature } =
            self
        {
            *feature = read;
        }
    }
}
