//! A state that is evaluated.

use std::path::PathBuf;

use crate::{
    Learner, TrainingState,
    checkpointing::{Checkpoints, save_model},
};

/// A state that is evaluated. The learner's weights are those of the state, or their average.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Updates until then.
    pub step: usize,
    pub(super) checkpoints: &'a Checkpoints<'a>,
    pub(super) state: &'a TrainingState,
    pub(super) is_average: bool,
}

impl Candidate<'_> {
    /// A folder with the model that is evaluated.
    pub fn folder<L: Learner>(&self, learner: &L) -> Result<PathBuf, L::Error> {
        if !self.is_average {
            return Ok(self.checkpoints.last());
        }
        let folder = self.checkpoints.folder.join("candidate");
        save_model(&folder, learner, self.state)?;
        Ok(folder)
    }
}
