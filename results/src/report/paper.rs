//! The paper's own numbers beside what was measured.

use std::collections::HashMap;

use crate::{
    MetricValue, Published, Record,
    averages::{is_averaged, is_task},
    published,
    reproduction::{Verdict, compare},
};

/// The numbers of Table 4's column FLAVA.
pub(super) struct Paper {
    cells: Vec<Published>,
    averages: HashMap<String, f64>,
    positions: HashMap<String, usize>,
}

impl Paper {
    pub(super) fn new() -> Self {
        let all = published();
        let averages = all.iter().filter(|cell| {
            cell.table == "Table 4" && cell.column == "FLAVA" && cell.task.starts_with("average-")
        });
        let averages = averages
            .map(|cell| (cell.task.clone(), cell.value))
            .collect();
        let cells: Vec<Published> = all.into_iter().filter(is_averaged).collect();
        let mut positions = HashMap::new();
        for (position, cell) in cells.iter().enumerate() {
            positions.entry(cell.task.clone()).or_insert(position);
        }
        Self {
            cells,
            averages,
            positions,
        }
    }

    /// Numbers that the paper has.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The paper's average of a group, in percent.
    pub(super) fn average(&self, group: &str) -> Option<f64> {
        let group = if group == "language" { "nlp" } else { group };
        self.averages.get(&format!("average-{group}")).copied()
    }

    /// Where a record's task stands in the table; the paper's first.
    pub(super) fn position(&self, record: &Record) -> usize {
        let own = self.positions.get(&record.task);
        let own = own.or_else(|| {
            let cell = self.cells.iter().find(|cell| is_task(record, &cell.task))?;
            self.positions.get(&cell.task)
        });
        own.copied().unwrap_or(usize::MAX)
    }

    /// The paper's number in the place of a score: of several splits the first one's.
    pub(super) fn cell(&self, record: &Record, score: &MetricValue) -> Option<&Published> {
        let mut scores = record.metrics.iter();
        let first = scores.find(|first| first.metric == score.metric)?;
        if first.split != score.split {
            return None;
        }
        let is_its = |cell: &&Published| cell.metric == score.metric && is_task(record, &cell.task);
        self.cells.iter().find(is_its)
    }
}

/// How a score stands to a number of the paper.
pub(super) fn verdict(record: &Record, score: &MetricValue, cell: &Published) -> Verdict {
    compare(record, score, cell).verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    #[test]
    fn verdicts_follow_rounding_rows_and_errors() {
        let paper = Paper::new();
        let mut record = record("food101");
        record.metrics[0] = MetricValue {
            n: 25_250,
            standard_error: 0.002,
            ..record.metrics[0].clone()
        };
        let mut told = |value: f64| {
            record.metrics[0].value = value;
            let score = &record.metrics[0];
            let cell = paper.cell(&record, score).unwrap();
            verdict(&record, score, cell)
        };
        assert_eq!(told(0.885_148), Verdict::Same);
        assert_eq!(told(0.885_1 - 0.000_12), Verdict::WithinRows(2));
        assert_eq!(told(0.8820), Verdict::WithinErrors);
        assert_eq!(told(0.8), Verdict::Off);
        record.publishable = false;
        let score = record.metrics[0].clone();
        let cell = paper.cell(&record, &score).unwrap();
        let found = verdict(&record, &score, cell).words();
        assert!(found.starts_with("not compared"), "{found}");
        assert_eq!((paper.len(), paper.average("language")), (41, Some(78.19)));
    }
}
