//! What each row's numbers are when the rows of the data are drawn again, the same for all
//! checkpoints.

use flava_base::stream;
use flava_tasks::{Metric, Predictions, metrics::SharedDraws};
use rand::Rng;
use statrs::distribution::{ContinuousCDF, Normal};

use super::{
    columns::Column,
    entry::{Cell, Entry, Measured, Member},
};
use crate::{Result, covariance::Share, run::read_predictions};

/// Numbers of entries in draws.
pub(super) struct Resampled {
    pub(super) draws: usize,
    /// By entry and column; None where there are no predictions.
    values: Vec<Vec<Option<Vec<f32>>>>,
}

impl Resampled {
    /// Draws the rows of every task that anybody has predictions of.
    ///
    /// # Errors
    /// If predictions are there and cannot be read.
    pub(super) fn new(entries: &[Entry], columns: &[Column], draws: usize) -> Result<Self> {
        let mut values = vec![vec![None; columns.len()]; entries.len()];
        let mut first = 0;
        while first < columns.len() {
            let task = &columns[first].task;
            let of_task = columns[first..]
                .iter()
                .take_while(|column| column.task == *task);
            let end = first + of_task.count();
            let mut shared = None;
            for (entry, values) in entries.iter().zip(&mut values) {
                let drawn = draw_task(entry, &columns[first..end], draws, &mut shared)?;
                for (value, drawn) in values[first..end].iter_mut().zip(drawn) {
                    *value = drawn;
                }
            }
            first = end;
        }
        Ok(Self { draws, values })
    }

    /// An entry's number in each draw.
    pub(super) fn of(&self, entry: usize, column: usize) -> Option<&[f32]> {
        self.values[entry][column].as_deref()
    }

    /// As [`Self::of`]; without predictions as chance would have it that is told by the standard
    /// error alone, drawn apart from all others.
    pub(super) fn or_normal(&self, at: Position, who: &str, cell: &Cell) -> Vec<f64> {
        if let Some(values) = self.of(at.entry, at.column) {
            return values.iter().map(|value| f64::from(*value)).collect();
        }
        let told = Share {
            value: cell.value,
            error: cell.standard_error.unwrap_or(0.0),
        };
        normal_draws(&format!("unpaired {who} {}", at.column), told, self.draws)
    }
}

/// What a number would be with other rows, as its standard error alone tells.
pub(super) fn normal_draws(purpose: &str, told: Share, draws: usize) -> Vec<f64> {
    let (mut rng, normal) = (stream(0, purpose), Normal::standard());
    let mut draw =
        || told.value + told.error * normal.inverse_cdf(rng.random_range(1e-9..1.0 - 1e-9));
    (0..draws).map(|_| draw()).collect()
}

/// A number's place: its entry and its column.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub(super) entry: usize,
    pub(super) column: usize,
}

/// An entry's numbers of one task in each draw; over its members the mean.
fn draw_task(
    entry: &Entry,
    columns: &[Column],
    draws: usize,
    shared: &mut Option<SharedDraws>,
) -> Result<Vec<Option<Vec<f32>>>> {
    let mut sums: Vec<Option<Vec<f32>>> = vec![None; columns.len()];
    let parse = |column: &Column| serde_json::from_value(column.metric.clone().into()).ok();
    let Some(metrics) = columns.iter().map(parse).collect::<Option<Vec<Metric>>>() else {
        return Ok(sums);
    };
    let mut complete = true;
    for member in &entry.members {
        let Some(predictions) = predictions_of(member, &columns[0])? else {
            complete = false;
            break;
        };
        let purpose = &columns[0].task;
        let shared = shared.get_or_insert_with(|| SharedDraws::new(purpose, &predictions, draws));
        let values = shared.values(&metrics, &predictions);
        for (values, sum) in values.into_iter().zip(&mut sums) {
            let Some(values) = values else {
                complete = false;
                continue;
            };
            let share = 1.0 / entry.members.len() as f64;
            let sum = sum.get_or_insert_with(|| vec![0.0; draws]);
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += (value * share) as f32;
            }
        }
    }
    if !complete {
        sums.fill(None);
    }
    Ok(sums)
}

fn predictions_of(member: &Member, column: &Column) -> Result<Option<Predictions>> {
    let is_of = |measured: &&Measured| column.is_of(&measured.record);
    match member.records.iter().find(is_of) {
        Some(Measured {
            record,
            folder: Some(folder),
            ..
        }) => read_predictions(folder, record, None),
        _ => Ok(None),
    }
}
