//! What is summed up between two lines of the log, and how it is said.

use std::collections::BTreeMap;

use super::Observed;

/// What is summed up between two lines of the log.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) losses: BTreeMap<&'static str, (f64, f64)>,
    pub(super) counts: BTreeMap<&'static str, (f64, f64)>,
    pub(super) norm: f64,
    pub(super) steps: usize,
    pub(super) rows: usize,
    pub(super) tokens: usize,
    pub(super) flops: f64,
    pub(super) seconds: f64,
    pub(super) waited: f64,
}

impl Sums {
    pub(super) fn add(&mut self, observed: &Observed, norm: f64, flops: f64, seconds: f64) {
        for (name, value) in &observed.losses {
            let sum = self.losses.entry(name).or_default();
            *sum = (sum.0 + value, sum.1 + 1.0);
        }
        for (name, right, of) in &observed.counts {
            let sum = self.counts.entry(name).or_default();
            *sum = (sum.0 + right, sum.1 + of);
        }
        self.norm += norm;
        self.steps += 1;
        self.rows += observed.rows;
        self.tokens += observed.tokens;
        self.flops += flops;
        self.seconds += seconds;
    }
}

/// A time to wait as people say it.
pub(crate) fn human(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..5400 => format!("{} min", whole.div_ceil(60)),
        5400..172_800 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}
