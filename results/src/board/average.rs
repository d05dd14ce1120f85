//! Averages over fixed numbers, with the three uncertainties that they have.

use crate::covariance::{Share, are_nested, covariance, nested};

use super::{
    columns::{Column, Columns},
    entry::Cell,
    resampled::Resampled,
};

/// A weighted mean of a row's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    /// Its value.
    pub value: f64,
    /// Standard error over the rows of the data: other rows, the same tasks and weights. None where
    /// a number has none.
    pub over_rows: Option<f64>,
    /// Standard error over the tasks, had others been chosen like these.
    pub over_tasks: f64,
    /// Standard deviation over seeds; None of one.
    pub over_seeds: Option<f64>,
}

impl Mean {
    /// Its 95 % interval over the rows of the data.
    pub fn interval(&self) -> Option<[f64; 2]> {
        const TWO_SIDED_95: f64 = 1.959_964;
        let half = TWO_SIDED_95 * self.over_rows?;
        Some([self.value - half, self.value + half])
    }
}

/// Which numbers an average is over, and how much each counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights(pub(super) Vec<Weight>);

/// What a column counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight {
    pub(super) column: usize,
    pub(super) share: f64,
}

impl Weights {
    /// Each of some columns alike.
    pub(super) fn alike(columns: &[usize]) -> Self {
        let share = 1.0 / columns.len().max(1) as f64;
        Self(
            columns
                .iter()
                .map(|&column| Weight { column, share })
                .collect(),
        )
    }

    /// The mean of the groups' means, as the paper has it.
    pub(super) fn of_groups(columns: &Columns) -> Self {
        let groups = columns.groups();
        let count = groups.len().max(1) as f64;
        let weights = groups.iter().flat_map(|group| {
            let of_group = Self::alike(&columns.of_group(group)).0.into_iter();
            of_group.map(|weight| Weight {
                share: weight.share / count,
                ..weight
            })
        });
        Self(weights.collect())
    }

    /// The mean of an entry's cells; None while one is missing.
    pub(super) fn value(&self, cells: &[Option<Cell>]) -> Option<f64> {
        let parts = self
            .0
            .iter()
            .map(|weight| Some(cells[weight.column].as_ref()?.value * weight.share));
        let sum = parts.sum::<Option<f64>>();
        sum.filter(|_| !self.0.is_empty())
    }
}

/// An entry's numbers, and what they are in draws.
pub(super) struct Drawn<'a> {
    pub(super) entry: usize,
    pub(super) cells: &'a [Option<Cell>],
    pub(super) columns: &'a [Column],
    pub(super) resampled: &'a Resampled,
}

impl Drawn<'_> {
    /// The average with its errors; None while a number is missing.
    pub(super) fn average(&self, weights: &Weights) -> Option<Mean> {
        let value = weights.value(self.cells)?;
        let cells = || {
            weights
                .0
                .iter()
                .filter_map(|weight| Some((weight, self.cells[weight.column].as_ref()?)))
        };
        let count = weights.0.len() as f64;
        let deviations = cells()
            .map(|(_, cell)| (cell.value - value).powi(2))
            .sum::<f64>();
        let over_tasks = if count > 1.0 {
            (deviations / (count - 1.0) / count).sqrt()
        } else {
            0.0
        };
        let seeds = cells().map(|(weight, cell)| Some((cell.over_seeds? * weight.share).powi(2)));
        Some(Mean {
            value,
            over_rows: self.variance(weights).map(f64::sqrt),
            over_tasks,
            // Of one training all numbers are measured: as if they varied apart.
            over_seeds: seeds.sum::<Option<f64>>().map(f64::sqrt),
        })
    }

    /// Variance over the rows: tasks have rows of their own, numbers of one task share them.
    fn variance(&self, weights: &Weights) -> Option<f64> {
        let mut variance = 0.0;
        for (index, one) in weights.0.iter().enumerate() {
            let error = self.cells[one.column].as_ref()?.standard_error?;
            variance += (one.share * error).powi(2);
            for other in &weights.0[index + 1..] {
                if self.columns[one.column].task == self.columns[other.column].task {
                    variance += 2.0
                        * one.share
                        * other.share
                        * self.covariance(one.column, other.column)?;
                }
            }
        }
        Some(variance.max(0.0))
    }

    /// Of two numbers of one task: from what was drawn, else of nested recalls what follows from
    /// their values. Both directions over the same images vary together too; without predictions
    /// nobody knows how much, and the error is too small by that.
    fn covariance(&self, a: usize, b: usize) -> Option<f64> {
        let (of_a, of_b) = (
            self.resampled.of(self.entry, a),
            self.resampled.of(self.entry, b),
        );
        if let (Some(of_a), Some(of_b)) = (of_a, of_b) {
            return Some(covariance(of_a, of_b));
        }
        let metric = |column: usize| self.columns[column].metric.as_str();
        let share = |column: usize| {
            let cell = self.cells[column].as_ref()?;
            let (value, error) = (cell.value, cell.standard_error?);
            Some(Share { value, error })
        };
        if are_nested(metric(a), metric(b)) {
            Some(nested(share(a)?, share(b)?))
        } else {
            Some(0.0)
        }
    }
}

/// A mean with each number as its share of the way from chance to 1.
pub(super) fn rescaled(weights: &Weights, cells: &[Option<Cell>]) -> Option<f64> {
    let share = |cell: &Cell| (cell.value - cell.chance) / (1.0 - cell.chance);
    let parts = weights
        .0
        .iter()
        .map(|weight| Some(share(cells[weight.column].as_ref()?) * weight.share));
    parts.sum::<Option<f64>>().filter(|_| !weights.0.is_empty())
}
