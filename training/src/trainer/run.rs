//! The loop, the same whatever is trained.

use std::{
    fs,
    time::{Duration, Instant},
};

use flava_model::runtime::Precision;

use super::setup::{Trained, Trainer};
use crate::{
    AdamW, Ema, Error, Learner, Log, LossScaler, Sharding, TrainingState,
    checkpointing::Checkpoints,
    coordination::Coordinator,
    log::TrainLine,
    metrics::MetricAccumulator,
    parallel::{Parallel, fitting},
};

/// Steps between two lines of the log, at most.
const LOG_EVERY: usize = 50;
/// Time between two lines on the terminal.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What changes from step to step.
pub(super) struct Run<'a, L: Learner> {
    pub(super) trainer: &'a Trainer<'a, L>,
    pub(super) checkpoints: Checkpoints<'a>,
    pub(super) learner: L,
    pub(super) optimiser: AdamW,
    pub(super) parallel: Parallel,
    pub(super) ema: Option<Ema>,
    pub(super) state: TrainingState,
    pub(super) log: Log,
    pub(super) coordinator: Coordinator,
    said: Instant,
    /// How many processes write files of a state, once that is known.
    pub(super) savers: Option<usize>,
    /// What of the training each process has only a part of.
    pub(super) sharding: Sharding,
}

impl<L: Learner> Trainer<'_, L> {
    /// Trains to the end of the schedule, from where the folder's training was left if there is
    /// one.
    pub fn run(&self, learner: L) -> Result<Trained, L::Error> {
        let mut run = Run::new(self, learner)?;
        run.resume()?;
        run.agree()?;
        run.lend_blocks()?;
        run.log.keep_until(run.state.step)?;
        run.steps()
    }
}

impl<'a, L: Learner> Run<'a, L> {
    /// Before the first step.
    pub(super) fn new(trainer: &'a Trainer<'a, L>, learner: L) -> Result<Self, L::Error> {
        fs::create_dir_all(trainer.folder).map_err(|e| Error::io(trainer.folder, e))?;
        let sets = learner.parameters();
        let products = trainer.precision.kind();
        let takes_lender = trainer.config.ema == 0.0 && learner.takes_lender();
        let (asked, device) = (trainer.sharding, trainer.device);
        let (sharding, said) = fitting(asked, trainer.group, device, &sets, takes_lender)?;
        let parallel = Parallel::new(trainer.group, sharding, products, &sets)?;
        let optimiser = parallel.optimiser(sets, &trainer.config.adamw);
        let ema = (trainer.config.ema > 0.0)
            .then(|| Ema::new(learner.parameters(), trainer.config.ema))
            .transpose()?;
        let scaler = LossScaler::new(trainer.precision == Precision::F16);
        let run = Run {
            trainer,
            checkpoints: Checkpoints {
                folder: trainer.folder,
                keep: trainer.config.keep,
            },
            learner,
            optimiser,
            parallel,
            ema,
            state: TrainingState::new(trainer.key, scaler, trainer.micro_batch),
            log: if trainer.group.leads() {
                Log::open(trainer.folder)?
            } else {
                Log::silent()
            },
            coordinator: Coordinator::new(trainer.group),
            said: Instant::now(),
            savers: None,
            sharding,
        };
        if let Some(line) = said {
            run.say(&line);
        }
        Ok(run)
    }
}

impl<L: Learner> Run<'_, L> {
    /// The loop: every step in order, whatever is trained.
    pub(super) fn steps(mut self) -> Result<Trained, L::Error> {
        let steps = self.trainer.config.lr_schedule.steps;
        let bar = self
            .trainer
            .progress
            .task(self.trainer.name, self.trainer.name, steps);
        bar.spare(self.state.step);
        self.finish_step_before()?;
        let mut sums = MetricAccumulator::default();
        let mut began = Instant::now();
        for batch in self.learner.batches(self.state.step..steps) {
            sums.waited += began.elapsed().as_secs_f64();
            if self.stops_early() {
                break;
            }
            let batch = batch?;
            let (rows, counts) = (self.learner.rows(&batch), self.learner.counts(&batch));
            let header = self.coordinator.before_step(rows, &counts)?;
            if header.interrupted {
                drop(batch);
                return self.interrupt();
            }
            if header.save && self.state.step > 0 {
                self.save()?;
            }
            self.count_broken(&header.batch, &self.learner.rows(&batch).broken)?;
            let rows = header.batch.len();
            let (metrics, norm) = self.step(&batch, header.batch)?;
            self.state.step += 1;
            sums.add(&metrics, rows, norm)?;
            sums.flops += self.learner.flops(&batch);
            sums.seconds += began.elapsed().as_secs_f64();
            bar.did(1);
            if self.is_logged() {
                let sums = std::mem::take(&mut sums).of_all(self.trainer.group)?;
                self.note(&sums)?;
            }
            if self.is_saved() {
                self.save()?;
            }
            if self.is_evaluated() {
                self.evaluate()?;
            }
            self.keep()?;
            began = Instant::now();
        }
        self.finish()
    }

    pub(super) fn is_last(&self) -> bool {
        self.state.step == self.trainer.config.lr_schedule.steps
    }

    pub(super) fn is_logged(&self) -> bool {
        let every = (self.trainer.config.lr_schedule.steps / LOG_EVERY).clamp(1, LOG_EVERY);
        self.state.step.is_multiple_of(every) || self.is_last()
    }

    pub(super) fn is_evaluated(&self) -> bool {
        let Some(evaluation) = &self.trainer.evaluation else {
            return false;
        };
        self.state.step.is_multiple_of(evaluation.every.max(1)) || self.is_last()
    }

    pub(super) fn is_kept(&self) -> bool {
        let every = self.trainer.config.save_every;
        every > 0 && self.state.step.is_multiple_of(every)
    }

    pub(super) fn is_saved(&self) -> bool {
        self.is_kept() || self.is_evaluated() || self.is_last()
    }

    pub(super) fn stops_early(&self) -> bool {
        let patience = self.trainer.evaluation.as_ref().map_or(0, |e| e.patience);
        patience > 0 && self.state.without_gain >= patience
    }

    pub(super) fn interrupt(&mut self) -> Result<Trained, L::Error> {
        if self.state.step > 0 {
            self.save()?;
        }
        Err(Error::Interrupted.into())
    }

    pub(super) fn finish(mut self) -> Result<Trained, L::Error> {
        let (rows, broken) = self.state.rows;
        if broken > 0 {
            let line = format!("{broken} of {rows} rows were broken and left out");
            self.say(&line);
        }
        if self.ema.is_some() && self.trainer.evaluation.is_none() {
            self.with_average(Self::save_best)?;
        }
        let is_chosen = self.state.best.is_some() || self.ema.is_some();
        let folder = if is_chosen {
            self.checkpoints.best()
        } else {
            self.checkpoints.last()
        };
        Ok(Trained {
            state: self.state,
            folder,
        })
    }

    pub(super) fn say(&self, line: &str) {
        let name = self.trainer.name;
        self.trainer.progress.say(&format!("{name}: {line}"));
    }

    /// A line of the log, and now and then one on the terminal.
    pub(super) fn note(&mut self, sums: &MetricAccumulator) -> Result<(), Error> {
        let step = self.state.step;
        let schedule = &self.trainer.config.lr_schedule;
        let line = TrainLine {
            lr: schedule.lr(step.saturating_sub(1)),
            device: self.trainer.device,
            peak_flops: self.trainer.peak_flops,
            skipped_steps: self.state.scaler.skipped,
            broken_rows: self.state.rows.1,
            steps_left: schedule.steps - step,
            extra: self.learner.extra_metrics(),
            sums,
        };
        self.log.note("train", step, &line.values()?)?;
        if self.said.elapsed() >= SAY_EVERY || self.is_last() {
            self.said = Instant::now();
            let text = line.for_people()?;
            let (name, steps) = (self.trainer.name, schedule.steps);
            let progress = self.trainer.progress;
            progress.say(&format!("{name}, step {step} of {steps}: {text}"));
        }
        Ok(())
    }
}
