//! One result: a task's scores and everything needed to know what they mean.

use serde::{Deserialize, Serialize};

/// A metric's value and its uncertainty, as shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    /// The metric's name.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// Standard error over the rows.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    pub ci_high: f64,
    /// Rows or queries that it is over.
    pub n: usize,
}

/// A task measured on a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the task.
    pub task: String,
    /// Version of the task: numbers of different versions do not compare.
    pub task_version: u32,
    /// vision, text or multimodal.
    pub family: String,
    /// Whose splits, metric and features it follows: flava, clip or as-published.
    pub protocol: String,
    /// How it was run, such as `linear_probe`.
    pub method: String,
    /// Which states were read.
    pub feature: String,
    /// Which rows were scored.
    pub split: String,
    /// Scores, the main one first.
    pub metrics: Vec<MetricValue>,
    /// What the main metric gives without looking.
    pub chance: f64,
    /// Rows that were fitted on.
    pub train_rows: usize,
    /// Rows left out because their picture was broken.
    pub skipped: usize,
    /// Where the checkpoint came from.
    pub model: String,
    /// Commit of the repository it came from; empty where nobody knows.
    #[serde(default)]
    pub model_revision: String,
    /// Digest of its weights.
    pub model_fingerprint: String,
    /// Where the rows came from.
    pub data: String,
    /// Commit of the repository they came from; empty where nobody knows.
    pub data_revision: String,
    /// Digest over ids and labels of the scored split, and over some of its pictures and texts.
    pub data_fingerprint: String,
    /// How pictures became pixels.
    pub transform: String,
    /// f32, bf16 or f16.
    pub precision: String,
    /// cpu or cuda:N.
    pub device: String,
    /// Of sampling and splitting.
    pub seed: u64,
    /// How the data differs from what the protocol asks for; only --allow-mismatch lets such a task run.
    #[serde(default)]
    pub mismatches: Vec<String>,
    /// Whether it may stand in a leaderboard: all rows were used, and they are the protocol's.
    #[serde(default)]
    pub publishable: bool,
    /// What stands beside the numbers, such as "640 of 50000 training rows".
    pub notes: Vec<String>,
    /// What the protocol chose and met on the way.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// Version of this program.
    pub program: String,
    /// When the task ended, UTC.
    pub date: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Record {
    /// The main score.
    ///
    /// # Panics
    /// If the record has no score; none is made without.
    pub fn main(&self) -> &MetricValue {
        self.metrics.first().expect("a record has a main score")
    }
}
