//! What is saved of a training, and gone on from.

use flava_model::runtime::give_memory_back;

use super::run::Run;
use crate::{Error, Learner, Sharding, checkpointing::last_state, parameter::first_not_finite};

impl<L: Learner> Run<'_, L> {
    /// Saves the state, unless its weights are no numbers: the state before stays then.
    pub(super) fn save(&mut self) -> Result<(), L::Error> {
        let (name, step) = (self.trainer.name, self.state.step);
        let own = first_not_finite(self.parallel.owned())?.unwrap_or_default();
        let all = self
            .trainer
            .group
            .gather_bytes(own.as_bytes())
            .map_err(Error::from)?;
        if let Some(parameter) = all.iter().find(|name| !name.is_empty()) {
            let parameter = String::from_utf8_lossy(parameter);
            let reason = format!("{name}: {parameter} is not finite after step {step}");
            return Err(Error::NotFinite { reason }.into());
        }
        if self.is_last() && self.state.scaler.skipped as usize >= step {
            let reason =
                format!("{name}: no step's losses and gradients were finite: nothing was learned");
            return Err(Error::NotFinite { reason }.into());
        }
        let moments = self.parallel.whole_state(&self.optimiser)?;
        let (checkpoints, learner) = (&self.checkpoints, &self.learner);
        let (ema, state) = (self.ema.as_ref(), &self.state);
        let coordinator = &mut self.coordinator;
        self.parallel.with_whole_blocks(|| {
            coordinator.lead("saved", || {
                checkpoints.save_last(learner, moments, ema, state)
            })
        })?;
        self.coordinator.note_saved();
        Ok(())
    }

    /// Has every process keep only a part of the weights of blocks, where that is asked for and can
    /// be.
    pub(super) fn lend_blocks(&mut self) -> Result<(), Error> {
        let group = self.trainer.group;
        if self.trainer.sharding != Sharding::Full || !group.has_others() {
            return Ok(());
        }
        if self.ema.is_some() || !self.learner.takes_lender() {
            self.say("weights stay whole in every process");
            return Ok(());
        }
        let lender = self.parallel.lend_blocks()?;
        give_memory_back();
        self.learner.set_lender(&lender);
        Ok(())
    }

    pub(super) fn keep(&self) -> Result<(), Error> {
        if self.is_kept() && self.trainer.group.leads() {
            self.checkpoints.keep_last(self.state.step)?;
        }
        Ok(())
    }

    /// Goes on from what is in the folder, if anything is.
    pub(super) fn resume(&mut self) -> Result<(), L::Error> {
        let trainer = self.trainer;
        if let Some((_, before)) = last_state(trainer.folder)? {
            if before.key != trainer.key {
                let folder = trainer.folder.display().to_string();
                return Err(Error::OtherTraining { folder }.into());
            }
            let moments = self
                .checkpoints
                .load(&mut self.learner, self.ema.as_mut(), &before)?;
            if let Some(moments) = moments {
                let own = self.parallel.own_state(moments)?;
                self.optimiser.load_state(own)?;
            }
            self.state = before;
            let steps = trainer.config.lr_schedule.steps;
            if self.state.step < steps {
                let from = format!("going on from step {} of {steps}", self.state.step);
                trainer.progress.say(&format!("{}: {from}", trainer.name));
            }
        }
        if let Some(evaluation) = &trainer.evaluation
            && self.state.best_by != evaluation.best_by
        {
            // Scores of something else say nothing.
            self.state.best = None;
            self.state.best_by = evaluation.best_by.to_owned();
            self.state.evaluated = 0;
            self.state.without_gain = 0;
        }
        Ok(())
    }

    /// What follows a step's saving and was not done: the program was killed before, or in its
    /// midst.
    pub(super) fn finish_step_before(&mut self) -> Result<(), L::Error> {
        if self.state.step == 0 {
            return Ok(());
        }
        if self.state.evaluated < self.state.step && self.is_evaluated() {
            self.evaluate()?;
        }
        Ok(self.keep()?)
    }
}
