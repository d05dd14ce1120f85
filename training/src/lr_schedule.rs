//! How the learning rate goes: up from zero, then down.

use flava_base::LrDecay;

/// Warm-up and decay over a number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrSchedule {
    /// The highest rate.
    pub peak: f64,
    /// What it falls to.
    pub last: f64,
    /// Steps on the way up.
    pub warmup: usize,
    /// All steps.
    pub steps: usize,
    /// What follows the warm-up.
    pub decay: LrDecay,
}

impl LrSchedule {
    /// The learning rate of a step, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let share =
            (step - self.warmup) as f64 / self.steps.saturating_sub(self.warmup).max(1) as f64;
        let share = share.min(1.0);
        let left = match self.decay {
            LrDecay::Linear => 1.0 - share,
            LrDecay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * share).cos()),
            LrDecay::Constant => 1.0,
        };
        self.last + (self.peak - self.last) * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_to_the_peak_and_fall_to_nothing() {
        let schedule = |decay| LrSchedule {
            peak: 2.0,
            last: 0.0,
            warmup: 4,
            steps: 12,
            decay,
        };
        let rates =
            |decay| [0, 3, 4, 8, 12, 99].map(|step| (schedule(decay).lr(step) * 1e6).round() / 1e6);
        assert_eq!(rates(LrDecay::Linear), [0.5, 2.0, 2.0, 1.0, 0.0, 0.0]);
        assert_eq!(rates(LrDecay::Cosine), [0.5, 2.0, 2.0, 1.0, 0.0, 0.0]);
        assert_eq!(rates(LrDecay::Constant), [0.5, 2.0, 2.0, 2.0, 2.0, 2.0]);
        assert!((schedule(LrDecay::Cosine).lr(6) - 1.707_107).abs() < 1e-6);
    }
}
