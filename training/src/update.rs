//! An update in the making: gradients that are whole, and the optimiser that will take them.

use crate::{AdamW, Result, parallel::Parallel};

/// What a learner may change of an update.
#[derive(Debug)]
pub struct Update<'a> {
    pub(crate) optimiser: &'a mut AdamW,
    pub(crate) parallel: &'a Parallel,
}

impl Update<'_> {
    /// Sets the weight decay of the groups that have one.
    pub fn set_weight_decay(&mut self, weight_decay: f64) {
        self.optimiser.set_weight_decay(weight_decay);
    }

    /// Cuts each parameter's gradient to a norm of its own, as DINO does.
    ///
    /// # Errors
    /// If another process failed.
    pub fn clip_each(&self, max_norm: f64) -> Result<()> {
        let norms = |own: Vec<(&str, f64)>| self.parallel.norms_of_parameters(own);
        self.optimiser.clip_each(max_norm, norms)
    }
}
