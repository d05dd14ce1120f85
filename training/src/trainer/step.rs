//! One update.

use flava_base::write_atomic;
use serde_json::json;

use super::run::Run;
use crate::{Error, Learner, LearnerError, Step, StepMetrics};

/// Rows after which too large a share of broken ones ends training.
const BROKEN_AFTER: u64 = 200;

impl<L: Learner> Run<'_, L> {
    /// One update; what it measured, and the norm of its gradients.
    pub(super) fn step(&mut self, batch: &L::Batch) -> Result<(StepMetrics, f64), L::Error> {
        let config = &self.trainer.config;
        let (step, metrics) = self.gradients(batch)?;
        let loss = metrics.total_loss()?;
        let optimiser = &mut self.optimiser;
        let (norm, usable) = self
            .state
            .scaler
            .prepare(optimiser, loss, config.clip_norm)?;
        if usable {
            self.learner.before_update(&mut self.optimiser, &step)?;
            self.optimiser.step(config.lr_schedule.lr(step.number))?;
            self.learner.after_update(&step)?;
            if let Some(ema) = &mut self.ema {
                ema.update()?;
            }
        } else if self.state.scaler.gives_up() {
            return Err(self.give_up(batch, &metrics)?.into());
        }
        Ok((metrics, norm))
    }

    /// The gradients of a batch; where memory is short and nobody said how many rows go through at
    /// once, of half as many until they fit.
    pub(super) fn gradients(&mut self, batch: &L::Batch) -> Result<(Step, StepMetrics), L::Error> {
        let number = self.state.step;
        let mut step = Step {
            number,
            seed: self
                .learner
                .step_seed(self.trainer.seed, self.trainer.name, number),
            loss_scale: self.state.scaler.factor,
            micro_batch: self.state.micro_batch,
        };
        loop {
            self.optimiser.zero_grad()?;
            match self.learner.backward(batch, &step) {
                Err(error) if error.is_out_of_memory() && self.halve(batch) => {
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
    pub(super) fn halve(&mut self, batch: &L::Batch) -> bool {
        let rows = self.learner.ids(batch).len();
        let now = match self.state.micro_batch {
            0 => rows,
            size => size.min(rows),
        };
        let can = self.trainer.micro_batch == 0 && self.learner.takes_parts() && now > 1;
        if can {
            self.state.micro_batch = now.div_ceil(2);
        }
        can
    }

    /// The error of a training whose steps are no numbers any more, with a report beside it.
    pub(super) fn give_up(&self, batch: &L::Batch, metrics: &StepMetrics) -> Result<Error, Error> {
        let number = self.state.step + 1;
        let path = self.trainer.folder.join("not_finite.json");
        let ids = self.learner.ids(batch);
        let report = json!({ "step": number, "losses": metrics.losses(), "rows": ids });
        write_atomic(&path, format!("{report:#}\n").as_bytes())?;
        Ok(Error::NotFinite {
            reason: format!(
                "{}: losses or gradients of step {number} are not finite, nor of several before; \
                 its rows are in {}",
                self.trainer.name,
                path.display()
            ),
        })
    }

    /// Keeps account of broken rows.
    pub(super) fn count_broken(&mut self, metrics: &StepMetrics) -> Result<(), Error> {
        let broken = &metrics.broken;
        self.state.rows.0 += (metrics.rows + broken.count) as u64;
        self.state.rows.1 += broken.count as u64;
        let (rows, all) = self.state.rows;
        if broken.count > 0 && all == broken.count as u64 {
            let line = format!(
                "left out: {}; more of them are counted",
                broken.first_reason
            );
            self.trainer.progress.say(&line);
        }
        let most = self.trainer.config.max_broken;
        let is_counted = rows >= BROKEN_AFTER || self.is_last();
        if is_counted && all as f64 > most * rows as f64 {
            let last = match broken.first_reason.as_str() {
                "" => String::new(),
                reason => format!("; the last: {reason}"),
            };
            return Err(Error::BrokenRows(format!(
                "{all} of {rows} rows are broken, more than max_broken = {most} allows{last}"
            )));
        }
        Ok(())
    }
}
