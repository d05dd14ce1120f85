//! The best of the states that are evaluated.

use super::{candidate::Candidate, run::Run};
use crate::Learner;

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
                group: run.trainer.group,
            };
            let score = (evaluation.evaluate)(&mut run.learner, &candidate, &mut run.log)?;
            let score = run.coordinator.of_leader(score)?;
            run.choose(score)
        })?;
        let (checkpoints, state) = (&self.checkpoints, &self.state);
        self.coordinator
            .lead("evaluated", || Ok(checkpoints.rewrite_state(state)?))
    }

    /// Writes the model as it is now as the best.
    pub(super) fn save_best(&mut self) -> Result<(), L::Error> {
        self.write("best", &self.checkpoints.best(), false)
    }

    /// Keeps the model as the best if its score is; of equal ones the first stays.
    pub(super) fn choose(&mut self, score: Option<f64>) -> Result<(), L::Error> {
        let best = self.state.best.map(|(_, best)| best);
        match score {
            Some(score) if best.is_none_or(|best| score > best) => {
                self.state.best = Some((self.state.step, score));
                self.state.without_gain = 0;
                self.save_best()
            }
            _ => {
                self.state.without_gain += 1;
                Ok(())
            }
        }
    }
}
