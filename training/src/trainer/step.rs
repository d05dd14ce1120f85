//! One update.

use flava_base::write_atomic;
use serde_json::json;

use super::run::Run;
use crate::{
    BrokenRows, Error, Learner, LearnerError, Step, StepMetrics, Update, WholeBatch,
    parallel::SummedGradients,
};

/// Rows after which too large a share of broken ones ends training.
const BROKEN_AFTER: u64 = 200;

impl<L: Learner> Run<'_, L> {
    /// One update; what it measured here, and the norm of its gradients.
    pub(super) fn step(
        &mut self,
        batch: &L::Batch,
        whole: WholeBatch,
    ) -> Result<(StepMetrics, f64), L::Error> {
        let config = &self.trainer.config;
        let (step, metrics) = self.gradients(batch, whole)?;
        let SummedGradients { loss, reached } =
            self.parallel.sum_gradients(metrics.total_loss()?)?;
        let (optimiser, parallel) = (&mut self.optimiser, &self.parallel);
        let (norm, usable) =
            self.state
                .scaler
                .prepare(optimiser, loss, config.clip_norm, |optimiser| {
                    parallel.gradient_norm(optimiser)
                })?;
        if usable {
            let mut update = Update {
                optimiser: &mut self.optimiser,
                parallel: &self.parallel,
            };
            self.learner.before_update(&mut update, &step)?;
            self.optimiser.step(config.lr_schedule.lr(step.number))?;
            self.parallel.gather_weights(&reached)?;
            self.learner.after_update(&step)?;
            if let Some(ema) = &mut self.ema {
                ema.update()?;
            }
        } else if self.state.scaler.gives_up() {
            return Err(self.give_up(batch, &metrics)?.into());
        }
        Ok((metrics, norm))
    }

    /// The gradients of this process's rows; where memory is short and nobody said how many rows go
    /// through at once, of half as many until they fit.
    fn gradients(
        &mut self,
        batch: &L::Batch,
        whole: WholeBatch,
    ) -> Result<(Step, StepMetrics), L::Error> {
        let number = self.state.step;
        let (seed, name) = (self.trainer.seed, self.trainer.name);
        let mut step = Step {
            number,
            seed: self.learner.step_seed(seed, name, number),
            loss_scale: self.state.scaler.factor,
            micro_batch: if self.learner.takes_parts() {
                self.state.micro_batch
            } else {
                0
            },
            whole,
            group: self.trainer.group.clone(),
            lockstep: self.parallel.lends(),
            early_sums: self.parallel.early_sums(),
        };
        loop {
            self.optimiser.zero_grad()?;
            self.parallel.clear_own_gradients()?;
            let measured = step.summed_early(self.learner.kind(batch), || {
                self.learner.backward(batch, &step)
            });
            match step.agreed(measured) {
                Err(error) if error.is_out_of_memory() && self.halve(&step) => {
                    step.micro_batch = self.state.micro_batch;
                    let line = format!(
                        "memory is short: going on with {} rows at once",
                        step.micro_batch
                    );
                    self.say(&line);
                }
                other => return other.map(|metrics| (step, metrics)),
            }
        }
    }

    /// Takes half as many rows at once, if that is free to be chosen and there are halves.
    fn halve(&mut self, step: &Step) -> bool {
        let rows = step.group.largest_share(step.whole.drawn());
        let now = match self.state.micro_batch {
            0 => rows,
            size => size.min(rows),
        };
        let can = !step.lockstep
            && self.trainer.micro_batch == 0
            && self.learner.takes_parts()
            && now > 1;
        if can {
            self.state.micro_batch = now.div_ceil(2);
        }
        can
    }

    /// The error of a training whose steps are no numbers any more, with a report beside it.
    fn give_up(&self, batch: &L::Batch, metrics: &StepMetrics) -> Result<Error, Error> {
        let number = self.state.step + 1;
        let path = self.trainer.folder.join("not_finite.json");
        let ids = &self.learner.rows(batch).ids;
        let report = json!({ "step": number, "losses": metrics.losses(), "rows": ids });
        if self.trainer.group.leads() {
            write_atomic(&path, format!("{report:#}\n").as_bytes())?;
        }
        Ok(Error::NotFinite {
            reason: format!(
                "{}: losses or gradients of step {number} are not finite, nor of several before; \
                 its rows are in {}",
                self.trainer.name,
                path.display()
            ),
        })
    }

    /// Keeps account of broken rows, of which this process has some.
    pub(super) fn count_broken(
        &mut self,
        whole: &WholeBatch,
        own: &BrokenRows,
    ) -> Result<(), Error> {
        self.state.rows.0 += whole.drawn() as u64;
        self.state.rows.1 += whole.broken as u64;
        let (rows, all) = self.state.rows;
        if own.count > 0 && all == whole.broken as u64 {
            let line = format!("left out: {}; more of them are counted", own.first_reason);
            self.trainer.progress.say(&line);
        }
        let most = self.trainer.config.max_broken;
        let is_counted = rows >= BROKEN_AFTER || self.is_last();
        let reason = if whole.is_empty() {
            "every row of a batch is broken".to_owned()
        } else if is_counted && all as f64 > most * rows as f64 {
            format!("{all} of {rows} rows are broken, more than max_broken = {most} allows")
        } else {
            return Ok(());
        };
        let last = self.last_broken(own)?;
        Err(Error::BrokenRows(format!("{reason}{last}")))
    }

    /// Why the last rows that were broken are, by any process: all come here where one does.
    fn last_broken(&self, own: &BrokenRows) -> Result<String, Error> {
        let group = self.trainer.group;
        let reasons = group.gather_bytes(own.first_reason.as_bytes())?;
        let mut reasons = reasons.iter().enumerate();
        let Some((rank, reason)) = reasons.find(|(_, reason)| !reason.is_empty()) else {
            return Ok(String::new());
        };
        let reason = String::from_utf8_lossy(reason);
        Ok(if group.has_others() {
            format!("; the last, of process {rank}: {reason}")
        } else {
            format!("; the last: {reason}")
        })
    }
}
