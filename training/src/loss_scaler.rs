//! From the gradients of a scaled loss to those that the optimiser takes: the factor on f16 losses
//! that keeps small gradients from becoming zero, clipping, and steps that are left out.

use serde::{Deserialize, Serialize};

use crate::{AdamW, Result};

/// Steps without an overflow after which the factor grows.
const PATIENCE: u32 = 2000;
/// Steps in a row whose gradients are not finite after which training is given up.
const MOST_SKIPPED: u32 = 8;

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
        Self {
            factor: if adapts { 65536.0 } else { 1.0 },
            good: 0,
            skipped: 0,
            in_a_row: 0,
            adapts,
        }
    }

    /// Brings the gradients of `loss` times the factor to their own size, and their norm to `clip`
    /// at most (0 for no limit); `norm` is that of all gradients. The norm before clipping, and
    /// whether the step may be made: not where norm or loss are not finite.
    pub fn prepare(
        &mut self,
        optimiser: &mut AdamW,
        loss: f64,
        clip: f64,
        norm: impl FnOnce(&AdamW) -> Result<f64>,
    ) -> Result<(f64, bool)> {
        let factor = self.factor;
        let norm = if loss.is_finite() {
            norm(optimiser)? / factor
        } else {
            f64::NAN
        };
        if !self.allows(norm) {
            return Ok((norm, false));
        }
        let cut = if clip > 0.0 && norm > clip {
            clip / norm
        } else {
            1.0
        };
        if (cut / factor - 1.0).abs() > 1e-12 {
            optimiser.scale_gradients(cut / factor)?;
        }
        Ok((norm, true))
    }

    /// Whether so many steps in a row were left out that training had better end.
    pub fn gives_up(&self) -> bool {
        self.in_a_row >= MOST_SKIPPED && self.factor <= 1.0
    }

    /// Takes note of a step's gradient norm; whether the step may be made.
    fn allows(&mut self, norm: f64) -> bool {
        if !norm.is_finite() {
            (self.good, self.skipped, self.in_a_row) = (0, self.skipped + 1, self.in_a_row + 1);
            self.factor = if self.adapts {
                (self.factor / 2.0).max(1.0)
            } else {
                self.factor
            };
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
