//! What training goes on from, beside weights and moments.

use serde::{Deserialize, Serialize};

use crate::LossScaler;

/// Counts and choices so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// Updates that were made.
    pub step: usize,
    /// Digest of all that decides the training.
    pub key: String,
    /// Factor of f16 losses.
    pub scaler: LossScaler,
    /// The best evaluation's step and score.
    pub best: Option<(usize, f64)>,
    /// The task whose score that is.
    #[serde(default)]
    pub best_by: String,
    /// Step of the last evaluation.
    pub evaluated: usize,
    /// Evaluations since the best.
    #[serde(default)]
    pub without_gain: usize,
    /// Rows that were read, and those of them that were broken.
    #[serde(default)]
    pub rows: (u64, u64),
    /// Rows that go through the model at once; 0 for all.
    #[serde(default)]
    pub micro_batch: usize,
}

impl TrainingState {
    /// Before the first step.
    pub(crate) fn new(key: &str, scaler: LossScaler, micro_batch: usize) -> Self {
        Self {
            step: 0,
            key: key.to_owned(),
            scaler,
            best: None,
            best_by: String::new(),
            evaluated: 0,
            without_gain: 0,
            rows: (0, 0),
            micro_batch,
        }
    }

    /// Whether the weights are those of the best evaluation.
    pub fn is_best(&self) -> bool {
        self.best.is_some_and(|(step, _)| step == self.step)
    }

    /// Whether a training of this `key` has made all its steps, and where the best state is chosen
    /// by a task, also the last measurement.
    pub fn is_done(&self, key: &str, steps: usize, best_by: Option<&str>) -> bool {
        let measured =
            best_by.is_none_or(|task| self.evaluated == self.step && self.best_by == task);
        self.key == key && self.step >= steps && measured
    }
}
