//! What is read of another tool's file.

use std::path::{Path, PathBuf};

use flava_tasks::Metric;

use crate::{
    Error,
    exchange::{exported::LeftOut, samples::metric_of},
};

/// A score that another tool measured.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignScore {
    /// The model, as the file calls it.
    pub model: String,
    /// Our name of the task.
    pub task: String,
    /// Our name of the metric.
    pub metric: String,
    /// Its value, a share or a correlation.
    pub value: f64,
    /// Where the file tells it.
    pub standard_error: Option<f64>,
    /// Rows, where the file tells them or its dataset has always as many: a task of ours may be over
    /// others.
    pub n: Option<usize>,
    /// "lm-eval" or "`CLIP_benchmark`".
    pub tool: String,
    /// The file.
    pub file: PathBuf,
    /// What the file calls the task.
    pub foreign_task: String,
}

/// What a file of another tool holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// Scores of our tasks.
    pub scores: Vec<ForeignScore>,
    /// What else there is.
    pub left_out: Vec<LeftOut>,
}

impl Imported {
    pub(super) fn leave_out(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.left_out.push(LeftOut::new(name, reason));
    }

    /// Keeps a score whose value the metric can have.
    pub(super) fn add(&mut self, score: ForeignScore) {
        let correlation = metric_of(&score.metric).map(Metric::unit) == Some("correlation");
        let least = if correlation { -1.0 } else { 0.0 };
        if (least..=1.0).contains(&score.value) {
            self.scores.push(score);
        } else {
            let name = format!("{} {}", score.foreign_task, score.metric);
            self.leave_out(name, format!("{} is no share", score.value));
        }
    }
}

/// An error about a key of a file.
pub(super) fn bad_key(path: &Path, key: &str, reason: &str) -> Error {
    Error::file(path, format!("key {key}: {reason}"))
}
