//! How tasks are run. Each protocol reads features and gives predictions and what it chose on the way.

mod linear_probe;
mod retrieval;
mod zero_shot;

use flava_tasks::{Feature, Predictions, Protocol, Task};
use serde_json::{Map, Value};

use crate::{
    Result,
    features::{Extractor, Features, Rows},
};

/// The splits of a task.
pub(crate) struct Splits {
    pub(crate) train: Option<Rows>,
    pub(crate) test: Rows,
}

/// What a protocol gave.
pub(crate) struct Answer {
    pub(crate) predictions: Predictions,
    pub(crate) skipped: usize,
    pub(crate) train_rows: usize,
    pub(crate) details: Map<String, Value>,
}

/// Runs a task's protocol.
pub(crate) fn answer(task: &Task, splits: &Splits, extractor: &Extractor, seed: u64) -> Result<Answer> {
    match &task.protocol {
        Protocol::LinearProbe { feature } => linear_probe::run(task, *feature, splits, extractor, seed),
        Protocol::ZeroShot { templates, class_names } => zero_shot::run(templates, class_names, splits, extractor),
        Protocol::Retrieval {} => retrieval::run(splits, extractor),
    }
}

/// What records call the states that a protocol reads.
pub(crate) fn feature_name(protocol: &Protocol) -> &'static str {
    match protocol {
        Protocol::LinearProbe { feature } => feature.name(),
        Protocol::ZeroShot { .. } | Protocol::Retrieval {} => "embeddings",
    }
}

fn probe_features(feature: Feature, rows: &Rows, extractor: &Extractor) -> Result<Features> {
    match feature {
        Feature::ImageCls => extractor.image_cls(rows),
        Feature::TextCls => extractor.text_cls(rows),
        Feature::MultimodalCls => extractor.multimodal_cls(rows),
    }
}
