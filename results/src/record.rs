//! One result: a task's scores and everything needed to know what they mean.

use std::path::Path;

use flava_base::{hex, is_there};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

#[cfg(test)]
pub(crate) use self::tests::record;

/// What is written for the feature, and for what weights started from, where another program
/// computed the features.
pub const GIVEN: &str = "given";
/// Largest record.
const MAX_BYTES: u64 = 256 << 20;
/// The key of the digest that stands behind a record in its file.
const DIGEST: &str = "sha256";

/// A metric's value and its uncertainty, as shares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    /// The metric's name.
    pub metric: String,
    /// Which rows it is over.
    pub split: String,
    /// Its value.
    pub value: f64,
    /// Standard error over the rows.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    pub ci_high: f64,
    /// How the interval was made, such as "wilson" or "bootstrap".
    pub interval: String,
    /// Rows or queries that it is over.
    pub n: usize,
    /// What the value is: "share", 0 to 1, or "correlation", -1 to 1.
    #[serde(default)]
    pub unit: String,
    /// Whether more of it is better.
    #[serde(default = "yes")]
    pub higher_is_better: bool,
}

fn yes() -> bool {
    true
}

/// A task measured on a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the task.
    pub task: String,
    /// What was asked for beside the task's row, such as another method or feature; empty
    /// otherwise.
    #[serde(default)]
    pub variant: String,
    /// Digest of everything that decides the numbers; a finished task with the same one is not run
    /// again.
    #[serde(default)]
    pub key: String,
    /// Version of the task: numbers of different versions do not compare.
    pub task_version: u32,
    /// The suite that the task is of; empty in records of earlier versions.
    #[serde(default)]
    pub suite: String,
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
    /// Rows left out because their image was broken.
    pub skipped: usize,
    /// Rows of the split, of which those that were scored are a part; 0 where nobody knows.
    #[serde(default)]
    pub rows_of: usize,
    /// Where the checkpoint came from.
    pub model: String,
    /// Commit of the repository it came from; empty where nobody knows.
    #[serde(default)]
    pub model_revision: String,
    /// Digest of its weights; of given features, of the files that were read.
    pub model_fingerprint: String,
    /// Parameters of the encoders that were read, their projections included; 0 where nobody
    /// knows.
    #[serde(default)]
    pub parameters: u64,
    /// Floating-point operations of their forward pass over one row, a text at its longest; 0
    /// where nobody knows.
    #[serde(default)]
    pub flops_per_row: f64,
    /// The Hub's name of such tasks, such as `image-classification`.
    #[serde(default)]
    pub hub_task: String,
    /// Where the rows came from.
    pub data: String,
    /// Commit of the repository they came from; empty where nobody knows.
    pub data_revision: String,
    /// Digest over ids, labels, images and texts of the scored rows.
    pub data_fingerprint: String,
    /// How images became pixels.
    pub transform: String,
    /// f32, bf16 or f16.
    pub precision: String,
    /// cpu or cuda:N.
    pub device: String,
    /// Of sampling and splitting.
    pub seed: u64,
    /// What the weights started from: "checkpoint", "random", or "given" where another program
    /// computed the features.
    #[serde(default)]
    pub initialisation: String,
    /// The recipe that was fine-tuned by; empty where nothing was.
    #[serde(default)]
    pub recipe: String,
    /// Digest of all its settings.
    #[serde(default)]
    pub recipe_digest: String,
    /// What was done otherwise than the protocol has it: with any, the record is not publishable.
    #[serde(default)]
    pub departures: Vec<String>,
    /// How the data differs from what the protocol asks for; only --allow-mismatch lets such a task
    /// run.
    #[serde(default)]
    pub mismatches: Vec<String>,
    /// Whether it may stand in a leaderboard: all rows were used, they are the protocol's, and so
    /// is all that was done.
    #[serde(default)]
    pub publishable: bool,
    /// What stands beside the numbers, such as "640 of 50000 training rows".
    pub notes: Vec<String>,
    /// What the protocol chose and met on the way.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// Version of this program.
    pub program: String,
    /// Commit that it was built from.
    #[serde(default)]
    pub commit: String,
    /// When the task ended, UTC.
    pub date: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Record {
    /// The name of its files.
    pub fn name(&self) -> String {
        if self.variant.is_empty() {
            self.task.clone()
        } else {
            format!("{}.{}", self.task, self.variant)
        }
    }

    /// Whether another program computed the features.
    pub fn is_given(&self) -> bool {
        self.initialisation == GIVEN
    }

    /// What its file holds: the record and a digest of it.
    ///
    /// # Errors
    /// If one of its numbers is not finite: JSON has no such number, and a leaderboard no place for
    /// it.
    pub fn to_file(&self) -> std::result::Result<String, String> {
        let numbers = |m: &MetricValue| [m.value, m.standard_error, m.ci_low, m.ci_high];
        if self.metrics.is_empty() {
            return Err(format!("{} has no score", self.name()));
        }
        let infinite = |metric: &&MetricValue| numbers(metric).iter().any(|n| !n.is_finite());
        if let Some(metric) = self.metrics.iter().find(infinite) {
            let (metric, name) = (&metric.metric, self.name());
            return Err(format!("{metric} of {name} is not finite"));
        }
        let mut value = serde_json::to_value(self).map_err(|e| e.to_string())?;
        let digest = hex(&Sha256::digest(value.to_string()));
        if let Some(entries) = value.as_object_mut() {
            entries.insert(DIGEST.to_owned(), digest.into());
        }
        Ok(format!("{value:#}\n"))
    }

    /// The record of a file; None where it is not there.
    ///
    /// # Errors
    /// If it is not as it was written.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !is_there(path) {
            return Ok(None);
        }
        let damaged = |reason: &dyn ToString| {
            Error::file(path, format!("is no whole record: {}", reason.to_string()))
        };
        let mut value: Value = flava_base::read_json(path, MAX_BYTES)?;
        let digest = value
            .as_object_mut()
            .and_then(|entries| entries.remove(DIGEST));
        let digest = digest.ok_or_else(|| damaged(&"it has no digest"))?;
        if digest != hex(&Sha256::digest(value.to_string())) {
            return Err(damaged(&"its digest is not that of what it says"));
        }
        let record: Self = serde_json::from_value(value).map_err(|e| damaged(&e))?;
        if record.metrics.is_empty() {
            Err(damaged(&"it has no score"))
        } else {
            Ok(Some(record))
        }
    }

    /// The main score.
    ///
    /// # Panics
    /// If the record has no score; none is made without.
    pub fn main(&self) -> &MetricValue {
        self.metrics.first().expect("a record has a main score")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn record(task: &str) -> Record {
        let score = |metric: &str, value| MetricValue {
            metric: metric.into(),
            split: "test".into(),
            value,
            standard_error: 0.1,
            ci_low: 0.0,
            ci_high: 1.0,
            interval: "wilson".into(),
            n: 9,
            unit: "share".into(),
            higher_is_better: true,
        };
        Record {
            task: task.into(),
            variant: String::new(),
            key: "key".into(),
            task_version: 1,
            suite: "mini".into(),
            family: "vision".into(),
            protocol: "flava".into(),
            method: "linear_probe".into(),
            feature: "image_cls".into(),
            split: "test".into(),
            metrics: vec![score("accuracy", 0.1 + 0.2), score("mean_per_class", 0.25)],
            chance: 0.1,
            train_rows: 4,
            skipped: 0,
            rows_of: 9,
            parameters: 86_000_000,
            flops_per_row: 35e9,
            hub_task: "image-classification".into(),
            model: "a, \"quoted\" folder".into(),
            model_revision: String::new(),
            model_fingerprint: "00".into(),
            data: "x/y".into(),
            data_revision: String::new(),
            data_fingerprint: "11".into(),
            transform: "t".into(),
            precision: "f32".into(),
            device: "cpu".into(),
            seed: 0,
            initialisation: "checkpoint".into(),
            recipe: String::new(),
            recipe_digest: String::new(),
            departures: Vec::new(),
            mismatches: Vec::new(),
            publishable: true,
            notes: Vec::new(),
            details: serde_json::Map::new(),
            program: "flava".into(),
            commit: "debug".into(),
            date: "2026-01-31T12:00:00Z".into(),
            seconds: 1.5,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert!(Record::read(&path).unwrap().is_none());
        let text = record("a").to_file().unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(record("a")));
        for bit in (0..text.len() * 8).step_by(3) {
            let mut damaged = text.clone().into_bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &damaged).unwrap();
            let read = Record::read(&path).ok().flatten();
            // White space between the values is nobody's.
            assert!(read.is_none() || read == Some(record("a")), "bit {bit}");
        }
        for cut in [0, 1, text.len() / 2, text.len() - 3] {
            std::fs::write(&path, &text[..cut]).unwrap();
            assert!(Record::read(&path).is_err());
        }
        let mut infinite = record("a");
        infinite.metrics[1].ci_high = f64::NAN;
        assert!(infinite.to_file().unwrap_err().contains("mean_per_class"));
    }
}
