//! Resamples that several models share: the same rows are drawn for all of them, so that what they
//! have in common cancels.

use rand::Rng;
use rayon::prelude::*;

use super::{clusters::grouped, metric::Metric};
use crate::{Predictions, random::stream};

/// How often each unit, a row or the rows that share an image, is drawn in each of some draws.
#[derive(Debug)]
pub struct SharedDraws {
    units: usize,
    /// Draw by draw.
    weights: Vec<u8>,
}

impl SharedDraws {
    /// So many draws of as many units as `predictions` have. The same purpose and units give the
    /// same draws, whatever the threads.
    pub fn new(purpose: &str, predictions: &Predictions, draws: usize) -> Self {
        let units = units_of(predictions);
        let mut weights = vec![0; units * draws];
        let fill = |(number, weights): (usize, &mut [u8])| {
            let mut rng = stream(&format!("shared draws {purpose} {number}"));
            for _ in 0..units {
                let unit = &mut weights[rng.random_range(0..units as u32) as usize];
                *unit = unit.saturating_add(1); // 256 times the same of many has no probability
            }
        };
        weights
            .par_chunks_mut(units.max(1))
            .enumerate()
            .for_each(fill);
        Self { units, weights }
    }

    /// A model's metrics in each draw; None of one that is not defined in all of them, or where the
    /// rows are not those that were drawn. Rows are matched by the order of their ids.
    pub fn values(&self, metrics: &[Metric], predictions: &Predictions) -> Vec<Option<Vec<f64>>> {
        if units_of(predictions) != self.units || self.units == 0 {
            return vec![None; metrics.len()];
        }
        let predictions = by_id(predictions);
        let values = metrics
            .iter()
            .map(|metric| self.value(*metric, &predictions));
        values.collect()
    }

    fn value(&self, metric: Metric, predictions: &Predictions) -> Option<Vec<f64>> {
        let clusters = metric.row_clusters(predictions);
        if let Some(values) = metric.per_row(predictions) {
            return Some(self.means(&Sums::new(&values, clusters.as_deref())));
        }
        let statistic = metric.statistic(predictions)?;
        let unit_of_row = clusters.as_deref().map(unit_of_rows);
        let value = |drawn: &[u8]| {
            let weights: Vec<u32> = match &unit_of_row {
                None => drawn.iter().map(|&weight| weight.into()).collect(),
                Some(units) => units.iter().map(|&unit| drawn[unit].into()).collect(),
            };
            statistic(&weights)
        };
        self.weights.par_chunks(self.units).map(value).collect()
    }

    fn means(&self, sums: &Sums) -> Vec<f64> {
        let mean = |drawn: &[u8]| {
            let total = weighted_sum(drawn, &sums.values);
            let count = match &sums.rows {
                None => self.units as f64,
                Some(rows) => weighted_sum(drawn, rows),
            };
            total / count
        };
        self.weights.par_chunks(self.units).map(mean).collect()
    }
}

/// What the units of a metric that is a mean contribute.
struct Sums {
    values: Vec<f32>,
    /// Rows of each; None where each is one.
    rows: Option<Vec<f32>>,
}

impl Sums {
    fn new(values: &[f64], clusters: Option<&[usize]>) -> Self {
        let Some(clusters) = clusters else {
            return Self {
                values: values.iter().map(|value| *value as f32).collect(),
                rows: None,
            };
        };
        let groups = grouped(clusters);
        let sum = |rows: &Vec<usize>| rows.iter().map(|&row| values[row]).sum::<f64>() as f32;
        Self {
            values: groups.values().map(sum).collect(),
            rows: Some(groups.values().map(|rows| rows.len() as f32).collect()),
        }
    }
}

/// A sum in blocks that vectors of the processor hold, each short enough to be exact to 1e-6.
fn weighted_sum(weights: &[u8], values: &[f32]) -> f64 {
    const LANES: usize = 16;
    let blocks = weights.chunks(64 * LANES).zip(values.chunks(64 * LANES));
    let sum = |(weights, values): (&[u8], &[f32])| {
        let mut lanes = [0.0f32; LANES];
        let parts = weights.chunks(LANES).zip(values.chunks(LANES));
        for (weights, values) in parts {
            for ((lane, weight), value) in lanes.iter_mut().zip(weights).zip(values) {
                *lane += f32::from(*weight) * value;
            }
        }
        lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>()
    };
    blocks.map(sum).sum()
}

/// Rows, or images that they share; of a retrieval its images.
fn units_of(predictions: &Predictions) -> usize {
    let clusters = match &predictions.outputs {
        crate::Outputs::Ranks { texts, .. } => return texts.len(),
        _ => predictions.clusters.as_ref(),
    };
    clusters.map_or(predictions.len(), |clusters| grouped(clusters).len())
}

fn unit_of_rows(clusters: &[usize]) -> Vec<usize> {
    let groups = grouped(clusters);
    let units = groups.keys().copied().zip(0..);
    let units: std::collections::HashMap<usize, usize> = units.collect();
    clusters.iter().map(|cluster| units[cluster]).collect()
}

/// The rows in the order of their ids; of a retrieval as they are.
fn by_id(predictions: &Predictions) -> Predictions {
    let mut order: Vec<usize> = (0..predictions.ids.len()).collect();
    order.sort_by(|a, b| predictions.ids[*a].cmp(&predictions.ids[*b]));
    predictions.pick(&order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outputs, predictions::Ranked};

    fn classes(right: impl Fn(usize) -> bool, rows: usize, backwards: bool) -> Predictions {
        let mut order: Vec<usize> = (0..rows).collect();
        if backwards {
            order.reverse();
        }
        Predictions {
            ids: order.iter().map(|row| format!("{row:05}")).collect(),
            clusters: None,
            outputs: Outputs::Classes {
                predicted: order.iter().map(|row| usize::from(right(*row))).collect(),
                gold: vec![1; rows],
                logits: None,
            },
        }
    }

    fn of(draws: &SharedDraws, metric: Metric, predictions: &Predictions) -> Option<Vec<f64>> {
        draws.values(&[metric], predictions).remove(0)
    }

    fn deviation(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        (squares.sum::<f64>() / (values.len() - 1) as f64).sqrt()
    }

    #[test]
    fn draws_are_of_rows_by_id_and_vary_as_a_mean_does() {
        let right = |row: usize| !row.is_multiple_of(4);
        let (one, other) = (classes(right, 2000, false), classes(right, 2000, true));
        let draws = SharedDraws::new("test", &one, 1000);
        let values = of(&draws, Metric::Accuracy, &one).unwrap();
        assert_eq!(Some(&values), of(&draws, Metric::Accuracy, &other).as_ref());
        let expected = (0.75f64 * 0.25 / 2000.0).sqrt();
        assert!((deviation(&values) / expected - 1.0).abs() < 0.1);
        // A metric that is no mean: of one class it is the same.
        let per_class = of(&draws, Metric::MeanPerClass, &one).unwrap();
        let same = values
            .iter()
            .zip(&per_class)
            .all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(same);
        assert!(of(&draws, Metric::Accuracy, &classes(right, 10, false)).is_none());
    }

    /// Nested recalls of the same queries: the covariance is p1 (1 - p5) / n.
    #[test]
    fn nested_recalls_vary_together() {
        let rank = |image: usize| Ranked {
            image,
            rank: [1, 1, 3, 9][image % 4],
        };
        let predictions = Predictions {
            ids: Vec::new(),
            clusters: None,
            outputs: Outputs::Ranks {
                texts: (0..1000).map(rank).collect(),
                images: (0..1000).map(rank).collect(),
            },
        };
        let draws = SharedDraws::new("recalls", &predictions, 4000);
        let first = of(&draws, Metric::TextRecall1, &predictions).unwrap();
        let fifth = of(&draws, Metric::TextRecall5, &predictions).unwrap();
        let sum: Vec<f64> = first.iter().zip(&fifth).map(|(a, b)| a + b).collect();
        let variance = |values: &[f64]| deviation(values).powi(2);
        let covariance = (variance(&sum) - variance(&first) - variance(&fifth)) / 2.0;
        let expected = 0.5 * (1.0 - 0.75) / 1000.0;
        assert!(
            (covariance / expected - 1.0).abs() < 0.15,
            "{covariance} {expected}"
        );
    }
}
