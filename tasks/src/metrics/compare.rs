//! Two models on the same rows: the difference of their scores, whether chance could have made it,
//! and the correction for having looked at many tasks.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

use super::{
    bootstrap,
    clusters::grouped,
    metric::Metric,
    score::{Estimate, quantile},
};
use crate::{Error, Outputs, Predictions, Result, predictions::Ranked};

/// How the probability of a difference was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// `McNemar`'s exact test: of the rows that one model alone got right, each could have been
    /// either's.
    Mcnemar,
    /// Student's, of the rows' differences, summed by image where rows share them.
    PairedT,
    /// The bootstrap of both scores over the same resamples.
    PairedBootstrap,
}

/// One model's score less another's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Score of the second less score of the first.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    pub ci_high: f64,
    /// Probability of such a difference, or a larger one, between models that are as good as each
    /// other.
    pub p: f64,
    /// Of which test.
    pub test: Test,
    /// Rows.
    pub n: usize,
}

impl Metric {
    /// The difference between the scores of `second` and `first` on the same rows, whatever their
    /// order.
    ///
    /// # Errors
    /// If the rows or their truths differ, or the metric is not one of such predictions.
    pub fn compare(
        self,
        first: &Predictions,
        second: &Predictions,
        purpose: &str,
    ) -> Result<Difference> {
        let second = aligned(first, second)?;
        if let (Some(a), Some(b)) = (self.per_row(first), self.per_row(&second)) {
            return Ok(paired(&a, &b, self.row_clusters(first).as_deref()));
        }
        self.resampled_difference(first, &second, purpose)
            .ok_or_else(|| {
                Error::Predictions(format!("{} cannot be computed from them", self.name()))
            })
    }

    /// The difference with the bootstrap's error; None where a score is not defined.
    fn resampled_difference(
        self,
        first: &Predictions,
        second: &Predictions,
        purpose: &str,
    ) -> Option<Difference> {
        let value = |of: &Predictions| self.score(of, purpose).map(|score| score.value);
        let difference = value(second)? - value(first)?;
        let (a, b) = (self.statistic(first)?, self.statistic(second)?);
        let both = |weights: &[u32]| Some(b(weights)? - a(weights)?);
        let (n, clusters) = (first.len(), first.clusters.as_deref());
        let purpose = format!("{purpose} {}", self.name());
        let estimate = Estimate {
            value: difference,
            standard_error: bootstrap::standard_error(&purpose, n, clusters, both),
            n,
        };
        let units = clusters.map_or(n, |clusters| grouped(clusters).len());
        Some(by_student(estimate, units, Test::PairedBootstrap))
    }
}

/// `second` with its rows in the order of `first`.
fn aligned(first: &Predictions, second: &Predictions) -> Result<Predictions> {
    let differ = |what: &str| Error::Predictions(format!("the two are over different {what}"));
    if first.ids.len() != second.ids.len() || first.len() != second.len() {
        return Err(differ("numbers of rows"));
    }
    let order = positions_in(&second.ids, &first.ids).ok_or_else(|| differ("rows"))?;
    let second = second.pick(&order);
    match same_truth(&first.outputs, &second.outputs) {
        None => Err(differ("kinds of answers")),
        Some(false) => Err(differ("labels")),
        Some(true) => Ok(second),
    }
}

/// Where each of the `wanted` stands among `ids`; None if one does not.
fn positions_in(ids: &[String], wanted: &[String]) -> Option<Vec<usize>> {
    let positions: HashMap<&str, usize> = ids
        .iter()
        .enumerate()
        .map(|(position, id)| (id.as_str(), position))
        .collect();
    let position = |id: &String| positions.get(id.as_str()).copied();
    wanted.iter().map(position).collect()
}

/// Whether what is right is the same; None of answers of different kinds.
fn same_truth(first: &Outputs, second: &Outputs) -> Option<bool> {
    Some(match (first, second) {
        (Outputs::Classes { gold: a, .. }, Outputs::Classes { gold: b, .. }) => a == b,
        (Outputs::Values { gold: a, .. }, Outputs::Values { gold: b, .. }) => a == b,
        (Outputs::Answers { gold: a, .. }, Outputs::Answers { gold: b, .. }) => a == b,
        (
            Outputs::Ranks { texts, images },
            Outputs::Ranks {
                texts: other_texts,
                images: other_images,
            },
        ) => same_images(texts, other_texts) && same_images(images, other_images),
        _ => return None,
    })
}

fn same_images(first: &[Ranked], second: &[Ranked]) -> bool {
    let images = |side: &[Ranked]| side.iter().map(|r| r.image).collect::<Vec<_>>();
    images(first) == images(second)
}

/// The difference of two means over the same rows.
fn paired(a: &[f64], b: &[f64], clusters: Option<&[usize]>) -> Difference {
    let n = a.len();
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    let singles = (0..n).collect::<Vec<_>>();
    let groups = grouped(clusters.unwrap_or(&singles));
    let value = differences.iter().sum::<f64>() / n as f64;
    let standard_error = error_of_mean(&differences, value, &groups);
    let units = groups.len();
    let estimate = Estimate {
        value,
        standard_error,
        n,
    };
    let difference = by_student(estimate, units, Test::PairedT);
    let binary = a.iter().chain(b).all(|&value| value == 0.0 || value == 1.0);
    if clusters.is_some() || !binary {
        return difference;
    }
    Difference {
        p: mcnemar(&differences),
        test: Test::Mcnemar,
        ..difference
    }
}

/// The standard error of a mean over rows that go together in groups.
fn error_of_mean(values: &[f64], mean: f64, groups: &BTreeMap<usize, Vec<usize>>) -> f64 {
    let residual = |rows: &Vec<usize>| rows.iter().map(|&row| values[row] - mean).sum::<f64>();
    let squares: f64 = groups.values().map(|rows| residual(rows).powi(2)).sum();
    let units = groups.len();
    if units < 2 {
        return 0.0;
    }
    // Of single rows this is the usual error with n - 1 in it.
    (squares * units as f64 / (units - 1) as f64).sqrt() / values.len() as f64
}

fn by_student(estimate: Estimate, units: usize, test: Test) -> Difference {
    let Estimate {
        value,
        standard_error,
        n,
    } = estimate;
    let degrees = units.saturating_sub(1).max(1) as f64;
    let half = quantile(degrees) * standard_error;
    let p = match StudentsT::new(0.0, 1.0, degrees) {
        Ok(t) if standard_error > 0.0 => 2.0 * t.cdf(-(value / standard_error).abs()),
        // All differ alike: as many coins that fell on one side.
        _ if value != 0.0 && units > 1 => 2.0 * 0.5f64.powi(units.min(1000) as i32),
        _ => 1.0,
    };
    Difference {
        value,
        standard_error,
        ci_low: value - half,
        ci_high: value + half,
        p,
        test,
        n,
    }
}

/// The two-sided probability that of the rows that differ one side gets as few as the one that got
/// fewer.
fn mcnemar(differences: &[f64]) -> f64 {
    let better = differences.iter().filter(|d| **d > 0.0).count();
    let worse = differences.iter().filter(|d| **d < 0.0).count();
    let total = (better + worse) as u64;
    let fewer = better.min(worse) as u64;
    Binomial::new(0.5, total).map_or(1.0, |coin| (2.0 * coin.cdf(fewer)).min(1.0))
}

/// Holm's correction: the probabilities that any of so many differences is by chance, in the order
/// given.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| ps[a].total_cmp(&ps[b]));
    let mut adjusted = vec![0.0; ps.len()];
    let mut least: f64 = 0.0;
    for (position, &index) in order.iter().enumerate() {
        least = least.max(ps[index] * (ps.len() - position) as f64).min(1.0);
        adjusted[index] = least;
    }
    adjusted
}
