//! How tasks are run. Each method reads features and gives predictions and what it chose on the
//! way.

mod few_shot;
mod fine_tune;
mod fit;
mod knn;
mod linear_probe;
mod rerank;
mod retrieval;
mod zero_shot;

pub(crate) use fine_tune::tuned;
pub use retrieval::ranks;

use flava_heads::ItmHead;
use flava_tasks::{
    Assignment, Method, Outputs, Predictions, Task,
    predictions::{Logits, shared},
    sources::Prompts,
};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    features::{Extractor, Features, Rows},
};

/// The splits of a task.
pub(crate) struct Splits {
    pub(crate) train: Option<Rows>,
    pub(crate) validation: Option<Rows>,
    pub(crate) test: Rows,
    pub(crate) second_test: Option<Rows>,
}

impl Splits {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rows> {
        self.train
            .iter()
            .chain(&self.validation)
            .chain([&self.test])
            .chain(&self.second_test)
    }
}

/// A task as it is run.
pub(crate) struct Job<'a> {
    pub(crate) task: &'a Task,
    pub(crate) assignment: &'a Assignment,
    pub(crate) splits: &'a Splits,
    /// Of zero-shot classification.
    pub(crate) prompts: Option<&'a Prompts>,
    /// Of re-ranked retrieval, where the checkpoint has it.
    pub(crate) itm_head: Option<&'a ItmHead>,
    pub(crate) seed: u64,
    /// Every penalty, and not CLIP's search.
    pub(crate) full_sweep: bool,
    /// Whether ridge regression says at once about what the probe will give.
    pub(crate) preview: bool,
}

impl Job<'_> {
    fn train(&self) -> Result<&Rows> {
        self.splits
            .train
            .as_ref()
            .ok_or_else(|| Error::Other(format!("{} has no training split", self.task.name)))
    }
}

/// What weights start from that are not random.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// What a method gave.
pub(crate) struct Answer {
    /// Of the test split, and of the second one where there is one.
    pub(crate) predictions: Vec<Predictions>,
    pub(crate) skipped: usize,
    pub(crate) train_rows: usize,
    /// How pictures became pixels, where it was not the checkpoint's way.
    pub(crate) transform: Option<String>,
    pub(crate) details: Map<String, Value>,
    /// What a reader must know beside the number.
    pub(crate) notes: Vec<String>,
    /// Settings that depart from the protocol's: with any, the number is not the protocol's.
    pub(crate) departures: Vec<String>,
    /// Standard deviation of the main score over draws of the training rows, where several were
    /// drawn.
    pub(crate) spread: f64,
    /// What the weights started from.
    pub(crate) initialisation: String,
    /// Name and digest of the recipe, where one was followed.
    pub(crate) recipe: (String, String),
}

impl Answer {
    pub(crate) fn new(
        predictions: Vec<Predictions>,
        skipped: usize,
        train_rows: usize,
        details: Map<String, Value>,
    ) -> Self {
        Self {
            predictions,
            skipped,
            train_rows,
            transform: None,
            details,
            notes: Vec::new(),
            departures: Vec::new(),
            spread: 0.0,
            initialisation: CHECKPOINT.into(),
            recipe: Default::default(),
        }
    }
}

/// Runs a task's method.
pub(crate) fn answer(job: &Job, extractor: &Extractor) -> Result<Answer> {
    match (&job.assignment.method, job.prompts) {
        (Method::LinearProbe { .. }, _) => linear_probe::run(job, extractor),
        (Method::Knn { feature }, _) => knn::run(job, *feature, extractor),
        (Method::FewShot { feature }, _) => few_shot::run(job, *feature, extractor),
        (Method::ZeroShot { .. }, Some(prompts)) => zero_shot::run(job, prompts, extractor),
        (Method::ZeroShot { .. }, None) => Err(Error::Other(
            "there are no class names and templates".into(),
        )),
        (Method::Retrieval { rerank }, _) => retrieval::run(job, *rerank, extractor),
        (Method::FineTune { .. }, _) => Err(Error::Other(
            "fine-tuning is no method of frozen features".into(),
        )),
    }
}

/// The features of the test splits with what `scores` makes of them: logits \[rows, classes\].
fn predict(
    job: &Job,
    extractor: &Extractor,
    scores: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<(Vec<Predictions>, usize)> {
    let feature = job
        .assignment
        .method
        .feature()
        .ok_or_else(|| Error::Other("the method reads no feature".into()))?;
    let (mut predictions, mut skipped) = (Vec::new(), 0);
    for rows in [&job.splits.test]
        .into_iter()
        .chain(&job.splits.second_test)
    {
        let features = extractor.features(rows, feature)?;
        skipped += features.skipped;
        let logits = scores(&features.values)?;
        predictions.push(classified(&features, &logits)?);
    }
    Ok((predictions, skipped))
}

/// Predictions of features by their logits \[rows, classes\].
fn classified(features: &Features, logits: &Tensor) -> Result<Predictions> {
    let (_, classes) = logits.size2()?;
    let values: Vec<f32> = logits
        .f_to_kind(Kind::Float)?
        .f_flatten(0, -1)?
        .try_into()?;
    let logits = Logits::new(values, classes as usize, &features.ids)?;
    Ok(Predictions {
        ids: features.ids.clone(),
        clusters: shared(features.clusters.clone()),
        outputs: Outputs::Classes {
            predicted: logits.best(),
            gold: features.classes()?,
            logits: Some(logits),
        },
    })
}

/// Ids that a record lists; of more it says how many, and the rule gives them.
const LISTED: usize = 5000;

fn listed_ids(ids: &[&str]) -> Value {
    if ids.len() <= LISTED {
        ids.into()
    } else {
        format!("{} ids, by the rule", ids.len()).into()
    }
}

/// Classes as a tensor.
fn labels(features: &Features) -> Result<Tensor> {
    Ok(Tensor::from_slice(
        &features
            .classes()?
            .into_iter()
            .map(|class| class as i64)
            .collect::<Vec<_>>(),
    ))
}
