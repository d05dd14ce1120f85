//! The trainer over what a stage trains.

use std::path::{Path, PathBuf};

use flava_training::{Evaluation, Learner, Trained, Trainer, last_state};

use super::run::Run;
use crate::{Error, Result, recipe::TrainingSchedule};

/// The result of a training, if all its steps were made; `best_by` is what its best state is chosen
/// by.
pub(super) fn result_of(
    folder: &Path,
    key: &str,
    schedule: &TrainingSchedule,
    best_by: Option<&str>,
) -> Result<Option<PathBuf>> {
    let Some((_, state)) = last_state(folder)? else {
        return Ok(None);
    };
    if !state.is_done(key, schedule.steps, best_by) {
        return Ok(None);
    }
    let is_chosen = best_by.is_some() && state.best.is_some();
    let name = if is_chosen || schedule.ema > 0.0 {
        "best"
    } else {
        "last"
    };
    Ok(Some(folder.join(name)))
}

impl Run<'_> {
    /// Trains a stage to its end, or goes on where that was left.
    pub(super) fn trained<L: Learner<Error = Error>>(
        &self,
        name: &str,
        schedule: &TrainingSchedule,
        key: &str,
        learner: L,
        evaluation: Option<Evaluation<L>>,
    ) -> Result<Trained> {
        let trainer = Trainer {
            name,
            folder: &self.folder(name),
            config: schedule.config(),
            seed: self.job.seed,
            key,
            precision: self.job.precision,
            micro_batch: self.job.micro_batch,
            group: &self.group,
            sharding: self.job.sharding,
            progress: &self.progress,
            evaluation,
            device: self.job.device,
            peak_flops: self.peak,
        };
        trainer.run(learner)
    }
}
