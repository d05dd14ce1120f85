//! What a trainer trains.

use std::{ops::Range, path::Path};

use flava_base::stream;
use rand::RngCore;

use crate::{AdamW, LearnerError, ParameterSet, StepMetrics, TrainingState};

/// What a step may know of itself.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Counted from 0.
    pub number: usize,
    /// Of whatever it draws.
    pub seed: i64,
    /// What losses are multiplied by before the backward pass.
    pub loss_scale: f64,
    /// Rows that go through the model at once; 0 for all.
    pub micro_batch: usize,
}

impl Step {
    /// The parts of `rows` rows that go through the model one after the other.
    pub fn parts(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let size = match self.micro_batch {
            0 => rows.max(1),
            size => size,
        };
        (0..rows)
            .step_by(size)
            .map(move |start| start..(start + size).min(rows))
    }
}

/// Batches one after the other, made ahead.
pub type Batches<B, E> = Box<dyn Iterator<Item = Result<B, E>>>;

/// A model, its data and its losses.
pub trait Learner {
    /// A step's data.
    type Batch: Send + 'static;
    /// What can go wrong in it.
    type Error: LearnerError;

    /// The batches of some steps.
    fn batches(&self, steps: Range<usize>) -> Batches<Self::Batch, Self::Error>;
    /// Ids of a batch's rows.
    fn ids(&self, batch: &Self::Batch) -> Vec<String>;
    /// Floating-point operations of a batch's step; 0 where they are not counted.
    fn flops(&self, batch: &Self::Batch) -> f64;
    /// What is trained.
    fn parameters(&self) -> Vec<ParameterSet>;
    /// Adds the gradients of a batch, times the loss scale, to the parameters'.
    fn backward(&mut self, batch: &Self::Batch, step: &Step) -> Result<StepMetrics, Self::Error>;
    /// Changes gradients or settings before the update, beyond the clipping that all have.
    fn before_update(&mut self, _optimiser: &mut AdamW, _step: &Step) -> Result<(), Self::Error> {
        Ok(())
    }
    /// What follows an update.
    fn after_update(&mut self, _step: &Step) -> Result<(), Self::Error> {
        Ok(())
    }
    /// More numbers for the log.
    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
    /// Whether a batch can go through the model in parts, with the gradients of the whole.
    fn takes_parts(&self) -> bool {
        true
    }
    /// The seed of whatever a step draws, by the number of the step.
    fn step_seed(&self, seed: u64, name: &str, number: usize) -> i64 {
        stream(seed, &format!("{name}, step {number}")).next_u64() as i64
    }
    /// Writes the model, and whatever else training goes on from but the optimiser's state.
    fn save(&self, folder: &Path, state: &TrainingState) -> Result<(), Self::Error>;
    /// Takes it up again.
    fn load(&mut self, folder: &Path) -> Result<(), Self::Error>;
}
