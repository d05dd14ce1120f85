//! States that are evaluated, and the best of them.

use std::path::PathBuf;

use super::run::Run;
use crate::{
    Learner, Log, TrainingState,
    checkpointing::{Checkpoints, save_model},
};

/// A state that is evaluated. The learner's weights are those of the state, or their average.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Updates until then.
    pub step: usize,
    checkpoints: &'a Checkpoints<'a>,
    state: &'a TrainingState,
    is_average: bool,
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

/// Evaluates a candidate: its score, where higher is better, or none where it has none.
pub type Evaluate<'a, L> =
    dyn Fn(&mut L, &Candidate, &mut Log) -> Result<Option<f64>, <L as Learner>::Error> + 'a;

/// When states are evaluated, and how.
pub struct Evaluation<'a, L: Learner> {
    /// Steps between evaluations; the last step is evaluated too.
    pub every: usize,
    /// Evaluations without a better score after which training stops; 0 never stops early.
    pub patience: usize,
    /// What the score is of: scores of something else are not compared with.
    pub best_by: &'a str,
    /// How.
    pub evaluate: &'a Evaluate<'a, L>,
}

impl<L: Learner> Run<'_, L> {
    /// Does something with the moving average in the weights' place, where there is one.
    pub(super) fn with_average<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, L::Error>,
    ) -> Result<T, L::Error> {
        if let Some(ema) = &mut self.ema {
            ema.swap()?;
        }
        let result = f(self);
        if let Some(ema) = &mut self.ema {
            ema.swap()?;
        }
        result
    }

    /// Evaluates the last state, which is saved, keeps the best, and notes in it what came out.
    pub(super) fn evaluate(&mut self) -> Result<(), L::Error> {
        let Some(evaluation) = &self.trainer.evaluation else {
            return Ok(());
        };
        self.state.evaluated = self.state.step;
        self.with_average(|run| {
            let candidate = Candidate {
                step: run.state.step,
                checkpoints: &run.checkpoints,
                state: &run.state,
                is_average: run.ema.is_some(),
            };
            let score = (evaluation.evaluate)(&mut run.learner, &candidate, &mut run.log)?;
            run.choose(score)
        })?;
        Ok(self.checkpoints.rewrite_state(&self.state)?)
    }

    /// Keeps the model as the best if its score is; of equal ones the first stays.
    pub(super) fn choose(&mut self, score: Option<f64>) -> Result<(), L::Error> {
        let best = self.state.best.map(|(_, best)| best);
        match score {
            Some(score) if best.is_none_or(|best| score > best) => {
                self.state.best = Some((self.state.step, score));
                self.state.without_gain = 0;
                let folder = self.checkpoints.best();
                save_model(&folder, &self.learner, &self.state)
            }
            _ => {
                self.state.without_gain += 1;
                Ok(())
            }
        }
    }
}
