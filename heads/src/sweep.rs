//! The choice of the probe's penalty on held-out rows: CLIP's search over 96 steps in twelve
//! decades.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::{Error, Fit, FitOptions, LinearHead, Probe, Result};

/// Penalties are ten to the power of an eighth of these: 1e-6 to 1e6.
const EIGHTHS: std::ops::RangeInclusive<i32> = -48..=48;
/// First spacing of the search: two decades, seven points.
const FIRST_SPACING: i32 = 16;
/// Columns of scores that make a product large enough; penalties beyond that are fitted one after
/// the other, each from the one before.
const COLUMNS: i64 = 48;
/// Penalties that are fitted together at most.
const TOGETHER: i64 = 12;
/// Rows that are scored at once.
const ROWS: i64 = 1 << 14;

/// Which penalties are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sweep {
    /// Seven, two decades apart, and then twice as densely around the best until there are eight a
    /// decade (CLIP's search).
    #[default]
    Halving,
    /// All of them.
    Full,
}

/// A penalty that was tried.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// Scikit-learn's 1 / C.
    pub penalty: f64,
    /// Its score on the held-out rows; minus infinity where that is not defined.
    pub score: f64,
    /// Of its fit.
    pub fit: Fit,
}

/// What a search chose.
#[derive(Debug)]
pub struct Chosen {
    /// The best penalty; of equal ones the strongest, the mildest claim that the data support.
    pub penalty: f64,
    /// All that were tried, the weakest first.
    pub tried: Vec<Tried>,
    /// The fit at the best.
    pub head: LinearHead,
}

impl Sweep {
    /// Fits on `probe`'s rows, and chooses by `score` of the fits: the task's main metric on
    /// held-out rows.
    pub fn run<E: From<crate::Error>>(
        self,
        probe: &Probe,
        score: &dyn Fn(&LinearHead) -> std::result::Result<f64, E>,
        options: &FitOptions,
    ) -> std::result::Result<Chosen, E> {
        let mut search = Search {
            probe,
            options,
            tried: BTreeMap::new(),
        };
        let together = (COLUMNS / probe.columns()).clamp(1, TOGETHER) as usize;
        let mut spacing = FIRST_SPACING;
        let mut wanted: Vec<i32> = match self {
            Self::Halving => EIGHTHS.rev().step_by(FIRST_SPACING as usize).collect(),
            Self::Full => EIGHTHS.rev().collect(),
        };
        loop {
            for together in wanted.chunks(together) {
                search.fit(together, score)?;
            }
            if spacing == 1 || self == Self::Full {
                return Ok(search.chosen()?);
            }
            spacing /= 2;
            wanted = search.around_best(spacing)?;
        }
    }
}

/// The fits of a search so far, by their penalties' exponents.
struct Search<'a> {
    probe: &'a Probe,
    options: &'a FitOptions,
    tried: BTreeMap<i32, (LinearHead, Tried)>,
}

impl Search<'_> {
    /// Fits some penalties together, and scores them.
    fn fit<E: From<crate::Error>>(
        &mut self,
        exponents: &[i32],
        score: &dyn Fn(&LinearHead) -> std::result::Result<f64, E>,
    ) -> std::result::Result<(), E> {
        // The objective is convex: the fit at the next stronger penalty is as good a start as any,
        // and a near one.
        let start = |exponent: i32| {
            let mut stronger = self.tried.range(exponent + 1..);
            stronger.next().map(|(_, (head, _))| head)
        };
        let asked = |&exponent: &i32| (penalty(exponent), start(exponent));
        let asked: Vec<_> = exponents.iter().map(asked).collect();
        let fits = self.probe.fit(&asked, self.options)?;
        for (&exponent, (head, fit)) in exponents.iter().zip(fits) {
            let tried = Tried {
                penalty: penalty(exponent),
                score: score(&head)?,
                fit,
            };
            self.tried.insert(exponent, (head, tried));
        }
        Ok(())
    }

    /// The exponent of the best score, of equal ones the largest.
    fn best(&self) -> Result<i32> {
        let scores = self.tried.iter().map(|(&at, (_, tried))| (at, tried.score));
        let best = scores.max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        best.map(|(exponent, _)| exponent).ok_or_else(none_tried)
    }

    /// The untried exponents at a distance of `spacing` from the best.
    fn around_best(&self, spacing: i32) -> Result<Vec<i32>> {
        let best = self.best()?;
        let fresh = |e: &i32| EIGHTHS.contains(e) && !self.tried.contains_key(e);
        let both = [best + spacing, best - spacing];
        Ok(both.into_iter().filter(fresh).collect())
    }

    fn chosen(mut self) -> Result<Chosen> {
        let best = self.best()?;
        let tried = self.tried.values().map(|(_, tried)| *tried).collect();
        let (head, chosen) = self.tried.remove(&best).ok_or_else(none_tried)?;
        Ok(Chosen {
            penalty: chosen.penalty,
            tried,
            head,
        })
    }
}

fn none_tried() -> Error {
    Error::Input("no penalty was tried".into())
}

fn penalty(exponent: i32) -> f64 {
    10f64.powf(f64::from(exponent) / 8.0)
}

/// The share of rows, features \[rows, features\] and labels, that a head gets right.
pub fn accuracy(head: &LinearHead, features: &Tensor, labels: &Tensor) -> Result<f64> {
    let (rows, _) = features.size2()?;
    let labels = labels.f_to_device(features.device())?;
    let mut right = 0;
    for start in (0..rows).step_by(ROWS as usize) {
        let count = ROWS.min(rows - start);
        let predicted = head
            .forward(&features.f_narrow(0, start, count)?)?
            .f_argmax(1, false)?;
        right += predicted
            .f_eq_tensor(&labels.f_narrow(0, start, count)?)?
            .f_sum(Kind::Int64)?
            .int64_value(&[]);
    }
    Ok(right as f64 / rows.max(1) as f64)
}
