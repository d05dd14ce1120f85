//! The factor on f16 losses that keeps small gradients from becoming zero.

use serde::{Deserialize, Serialize};

/// Steps without an overflow after which the factor grows.
const PATIENCE: u32 = 2000;

/// The factor and how it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScaler {
    /// What the loss is multiplied by.
    pub factor: f64,
    good: u32,
    /// Steps that were left out because a gradient was not finite.
    pub skipped: u32,
    /// Of these the last ones, in a row.
    pub in_a_row: u32,
    adapts: bool,
}

impl LossScaler {
    /// For f16, or one that stays at 1.
    pub fn new(adapts: bool) -> Self {
        Self { factor: if adapts { 65536.0 } else { 1.0 }, good: 0, skipped: 0, in_a_row: 0, adapts }
    }

    /// Takes note of a step's gradient norm; whether the step may be made.
    pub fn allows(&mut self, norm: f64) -> bool {
        if !norm.is_finite() {
            (self.good, self.skipped, self.in_a_row) = (0, self.skipped + 1, self.in_a_row + 1);
            self.factor = if self.adapts { (self.factor / 2.0).max(1.0) } else { self.factor };
            return false;
        }
        (self.good, self.in_a_row) = (self.good + 1, 0);
        if self.adapts && self.good == PATIENCE {
            (self.factor, self.good) = (self.factor * 2.0, 0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_halves_on_overflow_and_grows_in_peace() {
        let mut scaler = LossScaler::new(true);
        assert!(!scaler.allows(f64::NAN) && scaler.factor == 32768.0);
        assert!((0..PATIENCE).all(|_| scaler.allows(1.0)) && scaler.factor == 65536.0);
        assert_eq!((scaler.skipped, scaler.in_a_row), (1, 0));
        let mut fixed = LossScaler::new(false);
        assert!(!fixed.allows(f64::INFINITY) && fixed.factor == 1.0);
    }
}
