//! What every method reads and gives.

use std::path::Path;

use flava_heads::ItmHead;
use flava_model::runtime::{Progress, distributed::Group};
use flava_tasks::{
    Assignment, Feature, Outputs, Predictions, Task,
    predictions::{Logits, shared},
    sources::Prompts,
};
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

use crate::{
    Error, Plan, Result,
    features::{FeatureSource, Features, Rows},
};

/// What weights start from that are not random.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Ids that a record lists; of more it says how many, and the rule gives them.
const LISTED: usize = 5000;

/// The splits of a task.
pub(crate) struct Splits {
    pub(crate) train: Option<Rows>,
    pub(crate) validation: Option<Rows>,
    pub(crate) test: Rows,
    pub(crate) second_test: Option<Rows>,
}

impl Splits {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rows> {
        let first = self.train.iter().chain(&self.validation);
        first.chain(self.tests())
    }

    /// Those that are scored.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &Rows> {
        [&self.test].into_iter().chain(&self.second_test)
    }
}

/// A task as it is run.
pub(crate) struct MethodInput<'a> {
    pub(crate) task: &'a Task,
    pub(crate) assignment: &'a Assignment,
    /// The name of its files.
    pub(crate) name: &'a str,
    /// Digest of everything that decides its numbers.
    pub(crate) key: &'a str,
    pub(crate) splits: &'a Splits,
    /// Of zero-shot classification.
    pub(crate) prompts: Option<&'a Prompts>,
    /// Of re-ranked retrieval, where the checkpoint has it.
    pub(crate) itm_head: Option<&'a ItmHead>,
    pub(crate) plan: &'a Plan,
    /// The run's folder.
    pub(crate) out: &'a Path,
    pub(crate) source: &'a FeatureSource<'a>,
    pub(crate) progress: &'a Progress,
    /// The processes that train this task together.
    pub(crate) group: &'a Group,
}

impl MethodInput<'_> {
    pub(super) fn train(&self) -> Result<&Rows> {
        let missing = || Error::Lacking {
            what: "split",
            reason: format!("{} has no training split", self.task.name),
        };
        self.splits.train.as_ref().ok_or_else(missing)
    }

    /// Where heads are fitted and scores computed.
    pub(super) fn device(&self) -> Device {
        self.plan.settings.load.device
    }

    /// The feature that the method reads.
    pub(super) fn feature(&self) -> Result<Feature> {
        let none = Error::Internal("the method reads no feature");
        self.assignment.method.feature().ok_or(none)
    }

    /// The features of the test splits with what `scores` makes of them: logits \[rows, classes\].
    /// Also how many rows are left out.
    pub(super) fn predict(
        &self,
        scores: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<(Vec<Predictions>, usize)> {
        let feature = self.feature()?;
        let (mut predictions, mut skipped) = (Vec::new(), 0);
        for rows in self.splits.tests() {
            let features = self.source.features(rows, feature)?;
            skipped += features.skipped;
            let logits = scores(&features.values)?;
            predictions.push(classified(&features, &logits)?);
        }
        Ok((predictions, skipped))
    }
}

/// What a method gave.
pub(crate) struct MethodOutput {
    /// Of the test split, and of the second one where there is one.
    pub(crate) predictions: Vec<Predictions>,
    pub(crate) skipped: usize,
    pub(crate) train_rows: usize,
    /// How images became pixels, where it was not the checkpoint's way.
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
    /// The recipe that was followed, and the digest of its settings; empty where none was.
    pub(crate) recipe: String,
    pub(crate) recipe_digest: String,
}

impl MethodOutput {
    pub(crate) fn new(predictions: Vec<Predictions>) -> Self {
        Self {
            predictions,
            skipped: 0,
            train_rows: 0,
            transform: None,
            details: Map::new(),
            notes: Vec::new(),
            departures: Vec::new(),
            spread: 0.0,
            initialisation: CHECKPOINT.into(),
            recipe: String::new(),
            recipe_digest: String::new(),
        }
    }

    /// Adds to what the record tells of the way.
    pub(super) fn detail(&mut self, name: &str, value: impl Into<Value>) {
        self.details.insert(name.to_owned(), value.into());
    }

    /// Notes a setting that departs from the protocol's.
    pub(super) fn depart(&mut self, reason: String) {
        self.notes.push(reason.clone());
        self.departures.push(reason);
    }
}

/// Predictions of features by their logits \[rows, classes\].
pub(super) fn classified(features: &Features, logits: &Tensor) -> Result<Predictions> {
    let (_, classes) = logits.size2()?;
    let logits = logits.f_to_kind(Kind::Float)?.f_flatten(0, -1)?;
    let logits = Logits::new(logits.try_into()?, classes as usize, &features.ids)?;
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

/// Ids for a record.
pub(super) fn listed_ids(ids: &[&str]) -> Value {
    if ids.len() <= LISTED {
        ids.into()
    } else {
        format!("{} ids, by the rule", ids.len()).into()
    }
}

/// Classes as a tensor.
pub(super) fn labels(features: &Features) -> Result<Tensor> {
    let classes = features.classes()?.into_iter();
    let classes: Vec<i64> = classes.map(|class| class as i64).collect();
    Ok(Tensor::f_from_slice(&classes)?)
}
