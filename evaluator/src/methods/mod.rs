//! How tasks are run. Each method reads features and gives predictions and what it chose on the way.

mod linear_probe;
mod retrieval;
mod zero_shot;

use flava_tasks::{Assignment, Feature, Method, Predictions, Task, sources::Prompts};
use serde_json::{Map, Value};

use crate::{
    Error, Result,
    features::{Extractor, Features, Rows},
};

/// The splits of a task.
pub(crate) struct Splits {
    pub(crate) train: Option<Rows>,
    pub(crate) validation: Option<Rows>,
    pub(crate) test: Rows,
}

impl Splits {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rows> {
        self.train.iter().chain(&self.validation).chain([&self.test])
    }
}

/// A task as it is run.
pub(crate) struct Job<'a> {
    pub(crate) task: &'a Task,
    pub(crate) assignment: &'a Assignment,
    pub(crate) splits: &'a Splits,
    /// Of zero-shot classification.
    pub(crate) prompts: Option<&'a Prompts>,
    pub(crate) seed: u64,
}

/// What a method gave.
pub(crate) struct Answer {
    pub(crate) predictions: Predictions,
    pub(crate) skipped: usize,
    pub(crate) train_rows: usize,
    pub(crate) details: Map<String, Value>,
}

/// Runs a task's method.
pub(crate) fn answer(job: &Job, extractor: &Extractor) -> Result<Answer> {
    match (&job.assignment.method, job.prompts) {
        (Method::LinearProbe { feature }, _) => linear_probe::run(job, *feature, extractor),
        (Method::ZeroShot { .. }, Some(prompts)) => zero_shot::run(job, prompts, extractor),
        (Method::ZeroShot { .. }, None) => Err(Error::Other("there are no class names and templates".into())),
        (Method::Retrieval {}, _) => retrieval::run(job.splits, extractor),
        (Method::FineTune { .. }, _) => Err(Error::Other("fine-tuning is no method of frozen features".into())),
    }
}

fn probe_features(feature: Feature, rows: &Rows, extractor: &Extractor) -> Result<Features> {
    match feature {
        Feature::ImageCls => extractor.image_cls(rows),
        Feature::TextCls => extractor.text_cls(rows),
        Feature::MultimodalCls => extractor.multimodal_cls(rows),
        Feature::ImageEmbedding => extractor.image_embeddings(rows),
    }
}
