//! The splits of a record: formats that have one number a metric and task take each as a task.

use crate::{MetricValue, Record};

/// A record's scores on one split.
pub(super) struct Part<'a> {
    pub(super) record: &'a Record,
    /// The record's name, with the split behind it where that is not the first.
    pub(super) name: String,
    pub(super) split: &'a str,
    /// Whether it is the first.
    pub(super) first: bool,
    pub(super) metrics: Vec<&'a MetricValue>,
}

impl Part<'_> {
    /// The score of a metric.
    pub(super) fn score(&self, metric: &str) -> Option<&MetricValue> {
        let mut metrics = self.metrics.iter();
        metrics.find(|score| score.metric == metric).copied()
    }
}

/// A record's splits in the order of its scores.
pub(super) fn parts(record: &Record) -> Vec<Part<'_>> {
    let mut parts: Vec<Part> = Vec::new();
    for score in &record.metrics {
        if let Some(part) = parts.iter_mut().find(|part| part.split == score.split) {
            part.metrics.push(score);
            continue;
        }
        let first = parts.is_empty();
        let name = if first {
            record.name()
        } else {
            format!("{}.{}", record.name(), score.split)
        };
        parts.push(Part {
            record,
            name,
            split: &score.split,
            first,
            metrics: vec![score],
        });
    }
    parts
}
