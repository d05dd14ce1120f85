//! What is saved of a training, and gone on from.

use std::{fs, path::Path, rc::Rc};

use flava_base::part_of_folder;
use flava_model::{layers::WeightLender, runtime::give_memory_back};

use super::run::Run;
use crate::{
    Error, Learner, Sharding,
    checkpointing::{Shares, begun, finish, last_state, write_state},
    parameter::first_not_finite,
};

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
        self.write("saved", &self.checkpoints.last(), true)?;
        self.coordinator.note_saved();
        Ok(())
    }

    /// Writes the model, or all that training goes on from, in place of what is in a folder: each
    /// process what it has to save of what they have parts of, process 0 the rest.
    pub(super) fn write(
        &mut self,
        name: &str,
        folder: &Path,
        is_state: bool,
    ) -> Result<(), L::Error> {
        let (mut blocks, mut moments, mut savers) = (Vec::new(), Vec::new(), 1);
        self.coordinator
            .lead(&format!("{name}, begun"), || begun(folder))?;
        if self.parallel.is_in_parts() {
            savers = self.savers(folder)?;
            blocks = self.parallel.saved_blocks(savers)?;
        }
        if is_state {
            moments = self.parallel.saved_state(&self.optimiser, savers)?;
        }
        let group = self.trainer.group;
        let own = Shares {
            saver: group.rank(),
            savers,
            has_blocks: self.parallel.lends(),
        };
        let part = part_of_folder(folder);
        let written = if own.saver < savers {
            own.write(&part, blocks, moments)
        } else {
            Ok(Vec::new())
        };
        if written.is_err() && savers == 1 {
            let _gone = fs::remove_dir_all(&part); // else others may still be writing into it
        }
        let written = written?;
        let all = self.coordinator.reported(name, &written)?;
        let (learner, state) = (&self.learner, &self.state);
        let ema = self.ema.as_ref().filter(|_| is_state);
        self.coordinator.lead(name, || {
            finish(folder, |part| {
                learner.save(part, state)?;
                own.join(part, &all)?;
                if is_state {
                    write_state(part, ema, state)?;
                }
                Ok(())
            })
        })
    }

    /// How many processes write files of a state, into the folder that was begun: all, where process
    /// 0 sees what they write, else it alone.
    fn savers(&mut self, folder: &Path) -> Result<usize, Error> {
        if let Some(savers) = self.savers {
            return Ok(savers);
        }
        let (group, part) = (self.trainer.group, part_of_folder(folder));
        let probe = |rank: usize| part.join(format!("process-{rank}"));
        let _seen = fs::write(probe(group.rank()), []); // there may be no such folder here
        let all = 0..group.world();
        group.gather_bytes(&[])?;
        let seen = all.clone().filter(|rank| probe(*rank).exists()).count();
        let seen = group.exchange(&[seen as f64])?[0][0] as usize;
        if group.leads() {
            for rank in all {
                let _gone = fs::remove_file(probe(rank));
            }
        }
        let savers = if seen == group.world() { seen } else { 1 };
        if savers < group.world() {
            let folder = self.trainer.folder.display();
            self.say(&format!(
                "process 0 writes all of each state: not all processes see {folder}"
            ));
        }
        self.savers = Some(savers);
        Ok(savers)
    }

    /// Has every process keep only a part of the weights of blocks, where that is asked for and can
    /// be.
    pub(super) fn lend_blocks(&mut self) -> Result<(), Error> {
        let group = self.trainer.group;
        let Sharding::Full(reduction) = self.sharding else {
            return Ok(());
        };
        if !group.has_others() {
            return Ok(());
        }
        if self.ema.is_some() || !self.learner.takes_lender() {
            self.say("weights stay whole in every process");
            return Ok(());
        }
        let lender = self.parallel.lend_blocks(reduction)?;
        give_memory_back();
        let lender: Rc<dyn WeightLender> = lender;
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
        if trainer.group.leads() {
            for folder in [self.checkpoints.last(), self.checkpoints.best()] {
                let _gone = fs::remove_dir_all(part_of_folder(&folder)); // of one that was ended
            }
        }
        if let Some((_, before)) = last_state(trainer.folder)? {
            if before.key != trainer.key {
                let folder = trainer.folder.display().to_string();
                return Err(Error::OtherTraining { folder }.into());
            }
            let parallel = &self.parallel;
            let take = |name: &str, tensor| parallel.own_state(name, tensor);
            let moments =
                self.checkpoints
                    .load(&mut self.learner, self.ema.as_mut(), &before, &take)?;
            if let Some(moments) = moments {
                self.optimiser.load_state(moments)?;
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
