//! Pretraining (FLAVA section 3): from pictures, texts and pairs of them to a checkpoint, by a recipe.
//!
//! `corpora -> order, mixture -> rows (masks, crops, negatives) -> objectives -> trainer -> checkpoint`; the codebook, DINO and joint
//! training are stages that one trainer runs.

mod args;
mod augment;
mod codebook;
mod dino;
mod draws;
mod error;
mod flops;
mod masking;
mod mixture;
mod objectives;
mod order;
mod plan;
mod recipe;
mod rows;
mod run;
mod scored;
mod train;
mod trainer;
mod visual_words;

pub use args::{Command, PretrainArgs, RunArgs};
pub use codebook::{read_codebook, write_codebook};
pub use draws::{Drawn, Draws};
pub use error::{Error, Result};
pub use flops::batch as step_flops;
pub use masking::{BlockMasks, MaskedText, WordMasks};
pub use mixture::Mixture;
pub use objectives::{FlavaForPreTraining, Losses, OnEmpty, PretrainingInputs, PretrainingOutput, Right, Whole};
pub use order::{Order, Rank};
pub use plan::{dry_run, job_of};
pub use recipe::{Recipe, RowKind, Stage, TrainingSchedule};
pub use rows::{Batch, Preparation, Reader};
pub use run::{Job, init, run};
pub use train::Train;
pub use trainer::{Learner, Observed, Parameter, State, Step, Trainer, optimiser_of, peak_of, rates_of};
pub use visual_words::VisualWords;

/// An error once Ctrl-C was pressed.
pub(crate) fn interrupted() -> Result<()> {
    if flava_evaluator::interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}
