//! A metric's value and its uncertainty; the intervals that depend on nothing but the value and its
//! standard error.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Quantile of the normal distribution for intervals of 95 %.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// How an interval was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// Wilson's score interval of a share.
    Wilson,
    /// Student's, of the mean of independent rows.
    Student,
    /// The same for rows that share images: the errors of a cluster are summed first.
    Clustered,
    /// Of a mean over classes, each class a share of its own.
    Stratified,
    /// `DeLong`'s variance of an area under the curve, on the logit's scale.
    Delong,
    /// The standard deviation of the metric over resamples, on a scale where it is about normal.
    Bootstrap,
}

impl Interval {
    /// As it is written in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wilson => "wilson",
            Self::Student => "student",
            Self::Clustered => "clustered",
            Self::Stratified => "stratified",
            Self::Delong => "delong",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// A metric's value and its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    pub ci_high: f64,
    /// Rows or queries.
    pub n: usize,
    /// How the interval was made.
    pub interval: Interval,
}

/// Range of a metric, which says on what scale its interval is symmetric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Between 0 and 1: the logit's.
    Share,
    /// Between -1 and 1: Fisher's z.
    Correlation,
}

/// A metric's value before its interval.
#[derive(Clone, Copy)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) standard_error: f64,
    /// Rows or queries.
    pub(super) n: usize,
}

impl Estimate {
    fn between(self, ci_low: f64, ci_high: f64, interval: Interval) -> Score {
        Score {
            value: self.value,
            standard_error: self.standard_error,
            ci_low,
            ci_high,
            n: self.n,
            interval,
        }
    }

    /// Symmetric about the value with `degrees` of freedom, cut to shares.
    pub(super) fn symmetric(self, degrees: f64, interval: Interval) -> Score {
        let half = quantile(degrees) * self.standard_error;
        let (low, high) = (self.value - half, self.value + half);
        self.between(low.max(0.0), high.min(1.0), interval)
    }

    /// Wilson's, right near 0 and 1 and for small n; `trials` is n, or less where rows are not
    /// independent, `z` the quantile.
    pub(super) fn wilson(self, trials: f64, z: f64, interval: Interval) -> Score {
        let value = self.value;
        let scale = 1.0 + z * z / trials;
        let centre = (value + z * z / (2.0 * trials)) / scale;
        let half =
            z / scale * (value * (1.0 - value) / trials + z * z / (4.0 * trials * trials)).sqrt();
        // The ends are the value itself at 0 and 1, where rounding may pass it.
        let low = (centre - half).clamp(0.0, value);
        let high = (centre + half).clamp(value, 1.0);
        self.between(low, high, interval)
    }

    /// Symmetric on a scale without bounds. At the end of its range, where nothing varied, a metric
    /// is as uncertain as a share of `n` rows that were all right.
    pub(super) fn transformed(self, scale: Scale, interval: Interval) -> Score {
        let (low, width) = match scale {
            Scale::Share => (0.0, 1.0),
            Scale::Correlation => (-1.0, 2.0),
        };
        let share = ((self.value - low) / width).clamp(0.0, 1.0);
        if share * (1.0 - share) < 1e-12 || self.standard_error == 0.0 {
            let inside = Self {
                value: share,
                ..self
            };
            let inside = inside.wilson(self.n as f64, Z, interval);
            let back = |x: f64| low + width * x;
            return self.between(back(inside.ci_low), back(inside.ci_high), interval);
        }
        // Fisher's z is half the logit of (1 + r) / 2, so one rule serves both.
        let logit = (share / (1.0 - share)).ln();
        let half = Z * (self.standard_error / width) / (share * (1.0 - share));
        let back = |x: f64| low + width / (1.0 + (-x).exp());
        self.between(back(logit - half), back(logit + half), interval)
    }
}

/// Quantile of Student's distribution for intervals of 95 %.
pub(super) fn quantile(degrees: f64) -> f64 {
    if degrees > 1e6 {
        return Z;
    }
    StudentsT::new(0.0, 1.0, degrees.max(1.0)).map_or(Z, |t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_quantiles_are_the_tables() {
        for (degrees, expected) in [(1.0, 12.706), (9.0, 2.262), (30.0, 2.042), (1e9, 1.960)] {
            assert!((quantile(degrees) - expected).abs() < 1e-3, "{degrees}");
        }
    }

    /// Fisher's interval of r = 0.5 with standard error (1 - r^2) / sqrt(n - 3), n = 28:
    /// tanh(atanh(0.5) -+ 1.96 / 5).
    #[test]
    fn correlations_have_fishers_interval() {
        let transformed = |value, standard_error, n| {
            let estimate = Estimate {
                value,
                standard_error,
                n,
            };
            estimate.transformed(Scale::Correlation, Interval::Bootstrap)
        };
        let score = transformed(0.5, 0.75 / 5.0, 28);
        let end = |sign: f64| (0.5f64.atanh() + sign * Z / 5.0).tanh();
        assert!(
            (score.ci_low - end(-1.0)).abs() < 1e-12 && (score.ci_high - end(1.0)).abs() < 1e-12,
            "{score:?}"
        );
        let perfect = transformed(1.0, 0.0, 100);
        assert!(
            perfect.ci_high == 1.0 && perfect.ci_low > 0.9 && perfect.ci_low < 0.95,
            "{perfect:?}"
        );
    }
}
