//! Two models on the same rows: the difference of their scores, whether chance could have made it,
//! and the correction for having looked at many tasks.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

use super::{Metric, bootstrap, grouped, score::quantile};
use crate::{Error, Outputs, Predictions, Result};

/// How the probability of a difference was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// `McNemar`'s exact test: of the rows that one model alone got right, each could have been
    /// either's.
    Mcnemar,
    /// Student's, of the rows' differences, summed by picture where rows share them.
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
        let undefined =
            || Error::Predictions(format!("{} cannot be computed from them", self.name()));
        if let (Some(a), Some(b)) = (self.per_row(first), self.per_row(&second)) {
            return Ok(paired(&a, &b, self.row_clusters(first).as_deref()));
        }
        let value = |predictions: &Predictions| {
            self.score(predictions, purpose)
                .map(|score| score.value)
                .ok_or_else(undefined)
        };
        let difference = value(&second)? - value(first)?;
        let (a, b) = (
            self.statistic(first).ok_or_else(undefined)?,
            self.statistic(&second).ok_or_else(undefined)?,
        );
        let both = |weights: &[u32]| Some(b(weights)? - a(weights)?);
        let n = first.len();
        let standard_error = bootstrap::standard_error(
            &format!("{purpose} {}", self.name()),
            n,
            first.clusters.as_deref(),
            both,
        );
        let units = first
            .clusters
            .as_ref()
            .map_or(n, |clusters| grouped(clusters).len());
        Ok(by_student(
            difference,
            standard_error,
            n,
            units,
            Test::PairedBootstrap,
        ))
    }
}

/// `second` with its rows in the order of `first`.
fn aligned(first: &Predictions, second: &Predictions) -> Result<Predictions> {
    let differ = |what: &str| {
        Err(Error::Predictions(format!(
            "the two are over different {what}"
        )))
    };
    if first.ids.len() != second.ids.len() || first.len() != second.len() {
        return differ("numbers of rows");
    }
    let places: HashMap<&str, usize> = second
        .ids
        .iter()
        .enumerate()
        .map(|(place, id)| (id.as_str(), place))
        .collect();
    let Some(order) = first
        .ids
        .iter()
        .map(|id| places.get(id.as_str()).copied())
        .collect::<Option<Vec<usize>>>()
    else {
        return differ("rows");
    };
    let second = second.pick(&order);
    let same_truth = match (&first.outputs, &second.outputs) {
        (Outputs::Classes { gold: a, .. }, Outputs::Classes { gold: b, .. }) => a == b,
        (Outputs::Values { gold: a, .. }, Outputs::Values { gold: b, .. }) => a == b,
        (Outputs::Answers { gold: a, .. }, Outputs::Answers { gold: b, .. }) => a == b,
        (
            Outputs::Ranks {
                texts: a,
                images: c,
            },
            Outputs::Ranks {
                texts: b,
                images: d,
            },
        ) => {
            let pictures = |side: &[crate::predictions::Ranked]| {
                side.iter().map(|r| r.picture).collect::<Vec<_>>()
            };
            pictures(a) == pictures(b) && pictures(c) == pictures(d)
        }
        _ => return differ("kinds of answers"),
    };
    if !same_truth {
        return differ("labels");
    }
    Ok(second)
}

/// The difference of two means over the same rows.
fn paired(a: &[f64], b: &[f64], clusters: Option<&[usize]>) -> Difference {
    let n = a.len();
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    let value = differences.iter().sum::<f64>() / n as f64;
    let singles = (0..n).collect::<Vec<_>>();
    let groups = grouped(clusters.unwrap_or(&singles));
    let squares: f64 = groups
        .values()
        .map(|rows| {
            rows.iter()
                .map(|&row| differences[row] - value)
                .sum::<f64>()
                .powi(2)
        })
        .sum();
    let units = groups.len();
    // Of single rows this is the usual error with n - 1 in it.
    let standard_error = if units > 1 {
        (squares * units as f64 / (units - 1) as f64).sqrt() / n as f64
    } else {
        0.0
    };
    let binary = a.iter().chain(b).all(|&value| value == 0.0 || value == 1.0);
    if clusters.is_some() || !binary {
        return by_student(value, standard_error, n, units, Test::PairedT);
    }
    let (better, worse) = (
        differences.iter().filter(|d| **d > 0.0).count(),
        differences.iter().filter(|d| **d < 0.0).count(),
    );
    Difference {
        p: mcnemar(better, worse),
        test: Test::Mcnemar,
        ..by_student(value, standard_error, n, units, Test::PairedT)
    }
}

fn by_student(value: f64, standard_error: f64, n: usize, units: usize, test: Test) -> Difference {
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

/// The two-sided probability that of so many rows one side gets as few as the smaller number.
fn mcnemar(better: usize, worse: usize) -> f64 {
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
    for (place, &index) in order.iter().enumerate() {
        least = least.max(ps[index] * (ps.len() - place) as f64).min(1.0);
        adjusted[index] = least;
    }
    adjusted
}
