//! A row of a board: a checkpoint under a protocol, or several that differ in their seed alone.

use std::path::PathBuf;

use super::columns::Column;
use crate::{MetricValue, Record};

/// Where a row's numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Records of this program.
    Measured,
    /// A table that somebody wrote: nothing of it can be checked.
    Table,
    /// Another tool's file.
    Foreign,
    /// The paper.
    Published,
}

impl Origin {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Table => "table",
            Self::Foreign => "foreign",
            Self::Published => "published",
        }
    }
}

/// A record, and the folder that its predictions lie in.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The record.
    pub record: Record,
    /// None where there is no run, but a table.
    pub folder: Option<PathBuf>,
    /// What was read, for messages.
    pub from: String,
}

/// One checkpoint's records.
#[derive(Clone, Debug)]
pub struct Member {
    /// Digest of its weights; empty where nobody knows.
    pub fingerprint: String,
    /// Its records, no two of one name.
    pub records: Vec<Measured>,
}

/// A row of a board.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the checkpoint came from.
    pub model: String,
    /// Whose rules its numbers follow.
    pub protocol: String,
    /// Compute precision.
    pub precision: String,
    /// Where the numbers come from.
    pub origin: Origin,
    /// The checkpoint, or one for each seed.
    pub members: Vec<Member>,
}

/// A number of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The number; over seeds their mean.
    pub value: f64,
    /// Its standard error over the rows of the data; None where nobody knows.
    pub standard_error: Option<f64>,
    /// Its standard deviation over seeds; None of one.
    pub over_seeds: Option<f64>,
    /// Rows or queries.
    pub n: usize,
    /// What the number is without looking.
    pub chance: f64,
    /// Whether all that it stands for may stand in a leaderboard.
    pub publishable: bool,
}

impl Entry {
    /// All of its records.
    pub fn records(&self) -> impl Iterator<Item = &Measured> {
        self.members.iter().flat_map(|member| &member.records)
    }

    /// The records of a column, one for each member that has one.
    pub(super) fn of_column<'a>(
        &'a self,
        column: &'a Column,
    ) -> impl Iterator<Item = &'a Measured> {
        self.records()
            .filter(|measured| column.is_of(&measured.record))
    }

    /// Its number in a column; None unless all members have it.
    pub(super) fn cell(&self, column: &Column) -> Option<Cell> {
        let found: Vec<(&Record, &MetricValue)> = self
            .of_column(column)
            .filter_map(|measured| Some((&measured.record, score(&measured.record, column)?)))
            .collect();
        let (first, main) = *found.first()?;
        if found.len() != self.members.len() {
            return None;
        }
        let count = found.len() as f64;
        let mean = found.iter().map(|(_, score)| score.value).sum::<f64>() / count;
        let squares = found.iter().map(|(_, score)| (score.value - mean).powi(2));
        let deviation = || (squares.sum::<f64>() / (count - 1.0)).sqrt();
        // The members are measured on the same rows: their part of the error stays.
        let errors = found.iter().map(|(_, score)| score.standard_error.powi(2));
        let error = (errors.sum::<f64>() / count).sqrt();
        Some(Cell {
            value: mean,
            standard_error: (error > 0.0 || !main.interval.is_empty()).then_some(error),
            over_seeds: (found.len() > 1).then(deviation),
            n: main.n,
            chance: if column.is_main {
                first.chance
            } else {
                chance_of_recall(main)
            },
            publishable: found.iter().all(|(record, _)| record.publishable),
        })
    }

    /// The newest date of its records.
    pub fn date(&self) -> &str {
        self.records()
            .map(|measured| measured.record.date.as_str())
            .max()
            .unwrap_or_default()
    }

    /// Fingerprints of its members, such as `0123456789ab`, 12 digits each.
    pub fn fingerprints(&self) -> String {
        let short = |member: &Member| member.fingerprint.chars().take(12).collect::<String>();
        self.members
            .iter()
            .map(short)
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// What its records all say of something, each once.
    pub fn told(&self, read: impl Fn(&Record) -> &str) -> String {
        let mut found: Vec<&str> = self
            .records()
            .map(|measured| read(&measured.record))
            .collect();
        found.sort_unstable();
        found.dedup();
        found.retain(|text| !text.is_empty());
        found.join("; ")
    }

    /// As messages name it.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.model, self.protocol)
    }
}

/// The score of a record in a column, on the rows that its main score is over.
pub(super) fn score<'a>(record: &'a Record, column: &Column) -> Option<&'a MetricValue> {
    record
        .metrics
        .iter()
        .find(|score| score.metric == column.metric)
}

/// What blind search finds among the first k of as many images as were asked for.
fn chance_of_recall(score: &MetricValue) -> f64 {
    let k = score
        .metric
        .rsplit_once('@')
        .and_then(|(_, k)| k.parse::<f64>().ok());
    k.map_or(0.0, |k| k / (score.n.max(1)) as f64)
}
