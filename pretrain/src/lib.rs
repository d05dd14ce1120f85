//! Pretraining (FLAVA section 3): from images, texts and pairs of them to a checkpoint, by a
//! recipe.
//!
//! `corpora -> sampling (mixture, order) -> rows (masks, crops, negatives) -> losses -> trainer ->
//! checkpoint`; the codebook, DINO and joint training are stages that one trainer runs.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may panic"))]

mod args;
mod augment;
mod codebook;
mod dino;
mod error;
mod flops;
mod joint;
mod machines;
mod pipeline;
mod recipe;
mod sampling;

pub use args::{Command, PretrainArgs, RunArgs};
pub use dino::{Dino, DinoSetup};
pub use error::{Error, Result};
pub use flops::{HiddenShares, batch as step_flops};
pub use joint::{
    Batch, BatchTotals, BlockMasks, ExampleTransform, FlavaForPreTraining, ImageTokenizer,
    InputOptions, JointTraining, Losses, MaskedText, OnEmpty, PatchLabels, PretrainingDataset,
    PretrainingInputs, PretrainingOutput, VisualTokens, WordMasks,
};
pub use pipeline::{Job, dry_run, init, job_of, run};
pub use recipe::{LossWeights, Recipe, RowKind, Stage, TrainingSchedule};
pub use sampling::{CorpusSampler, Mixture, Order, Rank, SampledBatch};

/// An error once Ctrl-C was pressed.
pub(crate) fn interrupted() -> Result<()> {
    if flava_base::interrupted() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
