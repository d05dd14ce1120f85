//! A state that is evaluated.

use std::path::PathBuf;

use flava_model::runtime::distributed::Group;

use crate::{
    Learner, TrainingState,
    checkpointing::{Checkpoints, save_model},
    coordination::Coordinator,
};

/// A state that is evaluated. The learner's weights are those of the state, or their average.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Updates until then.
    pub step: usize,
    pub(super) checkpoints: &'a Checkpoints<'a>,
    pub(super) state: &'a TrainingState,
    pub(super) is_average: bool,
    pub(super) group: &'a Group,
}

impl Candidate<'_> {
    /// A folder with the model that is evaluated; process 0 writes it.
    pub fn folder<L: Learner>(&self, learner: &L) -> Result<PathBuf, L::Error> {
        if !self.is_average {
            return Ok(self.checkpoints.last());
        }
        let folder = self.checkpoints.folder.join("candidate");
        Coordinator::new(self.group).lead(&format!("candidate of step {}", self.step), || {
            save_model(&folder, learner, self.state)
        })?;
        Ok(folder)
    }
}
