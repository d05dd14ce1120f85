//! How the learning rate goes: up from zero, then down.

use serde::{Deserialize, Serialize};

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Straight down.
    #[default]
    Linear,
    /// Half a cosine down.
    Cosine,
    /// None.
    Constant,
}

/// Warm-up and decay over a number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// What it falls to.
    pub last: f64,
    /// Steps on the way up.
    pub warmup: usize,
    /// All steps.
    pub steps: usize,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let share =
            (step - self.warmup) as f64 / self.steps.saturating_sub(self.warmup).max(1) as f64;
        let share = share.min(1.0);
        let left = match self.decay {
            Decay::Linear => 1.0 - share,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * share).cos()),
            Decay::Constant => 1.0,
        };
        self.last + (self.peak - self.last) * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_to_the_peak_and_fall_to_nothing() {
        let schedule = |decay| Schedule {
            peak: 2.0,
            last: 0.0,
            warmup: 4,
            steps: 12,
            decay,
        };
        let rates = |decay| {
            [0, 3, 4, 8, 12, 99].map(|step| (schedule(decay).rate(step) * 1e6).round() / 1e6)
        };
        assert_eq!(rates(Decay::Linear), [0.5, 2.0, 2.0, 1.0, 0.0, 0.0]);
        assert_eq!(rates(Decay::Cosine), [0.5, 2.0, 2.0, 1.0, 0.0, 0.0]);
        assert_eq!(rates(Decay::Constant), [0.5, 2.0, 2.0, 2.0, 2.0, 2.0]);
        assert!((schedule(Decay::Cosine).rate(6) - 1.707_107).abs() < 1e-6);
    }
}
