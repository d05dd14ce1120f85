//! How rows stand to each other: ranks, wins, and in which order they are shown.

use super::{
    Board, Row,
    average::Weights,
    rank,
    resampled::{Position, Resampled},
};

impl Board {
    /// What rows are ranked by.
    pub(super) fn weights(&self) -> Weights {
        if self.is_complete {
            Weights::of_groups(&self.columns)
        } else {
            Weights::alike(&self.common)
        }
    }

    /// Ranks the compared rows by their unrounded means, and tells how often each wins.
    pub(super) fn rank(&mut self, compared: &[usize], resampled: &Resampled) {
        let weights = self.weights();
        let known: Option<Vec<f64>> = compared
            .iter()
            .map(|&at| weights.value(&self.rows[at].cells))
            .collect();
        let Some(values) = known.filter(|values| !values.is_empty()) else {
            return;
        };
        let draws: Vec<Vec<f64>> = compared
            .iter()
            .map(|&at| self.drawn(at, &weights, resampled))
            .collect();
        for (&at, rank) in compared.iter().zip(rank::ranks(&values, &draws)) {
            self.rows[at].rank = Some(rank);
            self.rows[at].win_rate = self.win_rate(at, compared, &weights);
        }
    }

    /// A row's mean in each draw.
    fn drawn(&self, at: usize, weights: &Weights, resampled: &Resampled) -> Vec<f64> {
        let mut sums = vec![0.0; resampled.draws];
        let row = &self.rows[at];
        let who = format!("{} {}", row.entry.title(), row.entry.fingerprints());
        for weight in &weights.0 {
            let Some(cell) = &row.cells[weight.column] else {
                continue;
            };
            let position = Position {
                entry: at,
                column: weight.column,
            };
            let values = resampled.or_normal(position, &who, cell);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight.share * value;
            }
        }
        sums
    }

    fn win_rate(&self, at: usize, compared: &[usize], weights: &Weights) -> Option<f64> {
        let value = |row: usize, column: usize| {
            self.rows[row].cells[column].as_ref().map(|cell| cell.value)
        };
        let mut games = Vec::new();
        for &other in compared.iter().filter(|other| **other != at) {
            for weight in &weights.0 {
                let (own, theirs) = (value(at, weight.column)?, value(other, weight.column)?);
                let tie = own.total_cmp(&theirs).is_eq();
                games.push(if tie { 0.5 } else { f64::from(own > theirs) });
            }
        }
        let count = games.len() as f64;
        (count > 0.0).then(|| games.iter().sum::<f64>() / count)
    }

    /// By rank; those that have none by origin, then as they came from a sorted list.
    pub(super) fn sort(&mut self) {
        let mean = |row: &Row| {
            row.average
                .as_ref()
                .or(row.common.as_ref())
                .map_or(f64::NEG_INFINITY, |a| a.value)
        };
        self.rows.sort_by(|a, b| {
            let rank = |row: &Row| row.rank.map_or(usize::MAX, |rank| rank.rank);
            let key = |row: &Row| {
                (
                    row.entry.model.clone(),
                    row.entry.fingerprints(),
                    row.entry.protocol.clone(),
                    row.entry.precision.clone(),
                )
            };
            rank(a)
                .cmp(&rank(b))
                .then(a.entry.origin.cmp(&b.entry.origin))
                .then(mean(b).total_cmp(&mean(a)))
                .then_with(|| key(a).cmp(&key(b)))
        });
    }
}
