//! Pretraining (FLAVA section 3): from pictures, texts and pairs of them to a checkpoint, by a
//! recipe.
//!
//! `corpora -> order, mixture -> rows (masks, crops, negatives) -> objectives -> trainer ->
//! checkpoint`; the codebook, DINO and joint training are stages that one trainer runs.

mod args;
mod augment;
mod codebook;
mod dino;
mod draws;
mod error;
mod flops;
mod joint;
mod order;
mod plan;
mod recipe;
mod run;

pub use args::{Command, PretrainArgs, RunArgs};
pub use dino::Dino;
pub use draws::{Drawn, Draws};
pub use error::{Error, Result};
pub use flops::batch as step_flops;
pub use joint::{
    Batch, BatchTotals, BlockMasks, FlavaForPreTraining, JointTraining, Losses, MaskedText,
    Mixture, OnEmpty, PatchLabels, Preparation, PretrainingInputs, PretrainingOutput, Reader,
    VisualWords, WordMasks,
};
pub use order::{Order, Rank};
pub use plan::{dry_run, job_of};
pub use recipe::{Recipe, RowKind, Stage, TrainingSchedule};
pub use run::{Job, init, run};

/// An error once Ctrl-C was pressed.
pub(crate) fn interrupted() -> Result<()> {
    if flava_base::interrupted() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
