//! The training loop.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use flava_model::runtime::{
    Progress,
    training::{AdamW, Autocast, Decay, Log, LossScaler, Schedule, peak_memory},
};
use flava_tasks::{Metric, RateDecay, Recipe};
use sha2::{Digest, Sha256};
use tch::Kind;

use super::{
    Network, Reached, Saved,
    batches::{Batch, TrainingRows},
    predict::{autocast_of, predictions, scored},
    saved::{State, Weights, last},
};
use crate::{Error, Result, Settings, check_interrupted, features::Rows};

/// Steps between two lines of the log, unless the whole run is shorter than some of them.
const LOG_EVERY: usize = 50;
/// Time after which what was done is saved, also between evaluations.
const SAVE_EVERY: Duration = Duration::from_mins(10);

/// What is trained on what, and where it goes.
pub(crate) struct Training<'a> {
    pub(crate) train: &'a Rows,
    /// The rows that checkpoints are chosen on.
    pub(crate) chosen_on: &'a Rows,
    pub(crate) metrics: &'a [Metric],
    pub(crate) recipe: &'a Recipe,
    /// Of the saved folders; its step and score change.
    pub(crate) saved: Saved,
    pub(crate) folder: &'a Path,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// Rows that go through the network at once; 0 takes the whole batch, and fewer where memory is
    /// short.
    pub(crate) micro_batch: usize,
    pub(crate) recompute: bool,
}

/// What changes from step to step.
struct Loop<'a> {
    training: &'a Training<'a>,
    network: Network,
    optimiser: AdamW,
    rows: Arc<TrainingRows>,
    schedule: Schedule,
    state: State,
    /// The moving average of the weights, where there is one.
    average: Option<Weights>,
    log: Log,
}

/// What is summed up between two lines of the log.
#[derive(Default)]
struct Sums {
    steps: usize,
    loss: f64,
    norm: f64,
    rows: usize,
    tokens: usize,
    /// Waiting for rows included, evaluations not.
    seconds: f64,
}

/// Trains a network, or goes on where that was left; the best score reached.
pub(crate) fn train(training: &Training, network: Network) -> Result<Reached> {
    let recipe = training.recipe;
    let rows = TrainingRows::new(
        training.train,
        &network,
        (recipe.batch_size, recipe.max_tokens),
        training.settings,
        training.saved.seed,
    )?;
    let rows = Arc::new(rows);
    let schedule = schedule(recipe, rows.batches_of_a_pass());
    let half = training.settings.load.precision == flava_model::runtime::Precision::F16;
    let mut optimiser = AdamW::new(
        network.groups(recipe),
        (recipe.betas[0], recipe.betas[1]),
        recipe.eps,
    );
    let mut network = network;
    network.flava.set_recompute(training.recompute);
    let micro_batch = if training.micro_batch == 0 {
        recipe.batch_size
    } else {
        training.micro_batch
    };
    let mut state = State {
        step: 0,
        scaler: LossScaler::new(half),
        best: None,
        without_gain: 0,
        evaluated: 0,
        micro_batch,
    };
    let mut average = (recipe.ema > 0.0).then(|| {
        network
            .trained()
            .into_iter()
            .map(|(name, t)| (name, t.detach().copy()))
            .collect::<Vec<_>>()
    });
    if let Some(folder) = last(training.folder) {
        let before = Saved::read(&folder)?;
        if before.key != training.saved.key {
            let reason = "holds a training of other settings, weights or data";
            return Err(Error::Other(format!(
                "{}: {reason}; choose another --out",
                training.folder.display()
            )));
        }
        (state, average) = Saved::resume(&folder, &mut network, &mut optimiser)?;
        training.progress.say(&format!(
            "going on from step {} of {}",
            state.step, schedule.steps
        ));
    }
    let device = network.store.device();
    if let Some(average) = &mut average {
        for (_, tensor) in average.iter_mut() {
            *tensor = tensor.to_device(device);
        }
    }
    let log = Log::open(training.folder, state.step)?;
    Loop {
        training,
        network,
        optimiser,
        rows,
        schedule,
        state,
        average,
        log,
    }
    .run()
}

/// The recipe's learning rates over all steps, of which a pass over the rows has so many.
fn schedule(recipe: &Recipe, pass: usize) -> Schedule {
    let steps = recipe.steps.unwrap_or_else(|| {
        (recipe.epochs.unwrap_or(0.0) * pass as f64)
            .round()
            .max(1.0) as usize
    });
    let warmup = if recipe.warmup < 1.0 {
        (recipe.warmup * steps as f64).round() as usize
    } else {
        recipe.warmup as usize
    };
    let decay = match recipe.decay {
        RateDecay::Linear => Decay::Linear,
        RateDecay::Cosine => Decay::Cosine,
        RateDecay::Constant => Decay::Constant,
    };
    Schedule {
        peak: recipe.learning_rate,
        last: 0.0,
        warmup,
        steps,
        decay,
    }
}

impl Loop<'_> {
    fn run(mut self) -> Result<Reached> {
        let steps = self.schedule.steps;
        let every = match self.training.recipe.evaluate_every {
            0 => self.rows.batches_of_a_pass(),
            every => every,
        };
        let log_every = LOG_EVERY.min((steps / 20).max(1));
        let bar = self.training.progress.task("training", steps);
        bar.add(self.state.step);
        let mut sums = Sums::default();
        let (mut began, mut saved) = (Instant::now(), Instant::now());
        if self.state.evaluated < self.state.step
            && (self.state.step.is_multiple_of(every) || self.state.step == steps)
        {
            self.evaluate()?; // a run was killed in the midst of it
        }
        let batches = self
            .rows
            .steps(self.state.step, steps, self.training.settings.loader());
        for batch in batches {
            if self.stops_early() {
                break;
            }
            if check_interrupted().is_err() {
                if self.state.step > 0 {
                    self.save_last()?;
                }
                return Err(Error::Interrupted);
            }
            let batch = batch?;
            let (loss, norm) = self.step(&batch)?;
            self.state.step += 1;
            sums.add(
                (loss, norm),
                &batch,
                &self.rows,
                began.elapsed().as_secs_f64(),
            );
            bar.add_to_run(1);
            let step = self.state.step;
            if step.is_multiple_of(log_every) || step == steps {
                self.note(&sums)?;
                sums = Sums::default();
            }
            if step.is_multiple_of(every) || step == steps {
                self.save_last()?; // an evaluation may take long, or fail
                self.evaluate()?;
            }
            if step.is_multiple_of(every) || step == steps || saved.elapsed() > SAVE_EVERY {
                self.save_last()?;
                saved = Instant::now();
            }
            began = Instant::now();
        }
        let never = "no evaluation gave a score: the model gives every row the same answer (another learning_rate or clip_norm may help)";
        self.state.best.ok_or_else(|| Error::Other(never.into()))
    }

    fn stops_early(&self) -> bool {
        let patience = self.training.recipe.patience;
        patience > 0 && self.state.without_gain >= patience
    }

    /// One update; its loss and the norm of its gradients.
    fn step(&mut self, batch: &Batch) -> Result<(f64, f64)> {
        // Dropout depends on the seed and the step alone, so that a resumed run draws the same.
        let seed = Sha256::digest(format!(
            "dropout {} {}",
            self.training.saved.seed, self.state.step
        ));
        let seed = i64::from_le_bytes(seed[..8].try_into().unwrap_or_default());
        let loss = loop {
            tch::manual_seed(seed);
            self.optimiser.forget_gradients()?;
            match self.accumulate(batch) {
                Err(error)
                    if self.training.micro_batch == 0
                        && self.state.micro_batch > 1
                        && error.to_string().contains("out of memory") =>
                {
                    self.state.micro_batch =
                        self.state.micro_batch.min(batch.places.len()).div_ceil(2);
                    let line = format!(
                        "memory is short: going on with {} rows at once",
                        self.state.micro_batch
                    );
                    self.training.progress.say(&line);
                }
                other => break other?,
            }
        };
        let (norm, usable) =
            self.state
                .scaler
                .prepare(&mut self.optimiser, loss, self.training.recipe.clip_norm)?;
        if usable {
            self.optimiser.step(self.schedule.rate(self.state.step))?;
            self.follow()?;
        } else if self.state.scaler.gives_up() {
            let rows = self
                .rows
                .ids(&batch.places[..batch.places.len().min(4)])
                .join(", ");
            let reason = format!(
                "the gradients of step {} are not finite, nor of several before (rows {rows}, ..)",
                self.state.step + 1
            );
            return Err(Error::Other(format!(
                "{reason}: lower learning_rate, or set clip_norm"
            )));
        }
        Ok((loss, norm))
    }

    /// The gradients of a batch, a part of its rows at a time.
    fn accumulate(&mut self, batch: &Batch) -> Result<f64> {
        let (rows, device) = (batch.places.len(), self.network.store.device());
        let mut total = 0.0;
        for start in (0..rows).step_by(self.state.micro_batch) {
            let part = start..(start + self.state.micro_batch).min(rows);
            let share = part.len() as f64 / rows as f64;
            let inputs = self.rows.tensors(batch, part, &self.network, device)?;
            let loss = {
                let _autocast = Autocast::new(device, autocast_of(self.training.settings))?;
                let outputs =
                    self.network
                        .forward(inputs.text.as_ref(), inputs.images.as_ref(), true)?;
                self.network.output.loss(&outputs, &inputs.targets)?
            };
            total += loss.f_to_kind(Kind::Double)?.double_value(&[]) * share;
            loss.f_mul_scalar(share * self.state.scaler.factor)?
                .f_backward()?;
        }
        Ok(total)
    }

    /// The moving average takes a step after the weights.
    fn follow(&mut self) -> Result<()> {
        let Some(average) = &mut self.average else {
            return Ok(());
        };
        let _guard = tch::no_grad_guard();
        let keep = self.training.recipe.ema;
        for ((_, average), (_, weight)) in average.iter_mut().zip(self.network.trained()) {
            let _moved = average.f_lerp_(&weight, 1.0 - keep)?;
        }
        Ok(())
    }

    /// Exchanges the weights with their moving average, where there is one.
    fn exchange(&mut self) -> Result<()> {
        let Some(average) = &mut self.average else {
            return Ok(());
        };
        let _guard = tch::no_grad_guard();
        for ((_, average), (_, mut weight)) in average.iter_mut().zip(self.network.trained()) {
            let kept = weight.copy();
            weight.f_copy_(average)?;
            average.f_copy_(&kept)?;
        }
        Ok(())
    }

    /// Scores the rows that checkpoints are chosen on, and keeps the best.
    fn evaluate(&mut self) -> Result<()> {
        let Training {
            chosen_on,
            metrics,
            recipe,
            settings,
            progress,
            saved,
            folder,
            ..
        } = self.training;
        self.exchange()?;
        self.state.evaluated = self.state.step;
        let predictions = predictions(
            &mut self.network,
            chosen_on,
            recipe.max_tokens,
            settings,
            progress,
        )?;
        let Some(score) = scored(metrics, &predictions, &saved.task, &chosen_on.split.name) else {
            let metric = metrics.first().map_or("", |metric| metric.name());
            progress.say(&format!(
                "step {}: {metric} is not defined: every answer is the same",
                self.state.step
            ));
            self.state.without_gain += 1;
            return self.exchange();
        };
        let reached = Reached {
            step: self.state.step,
            score,
        };
        let line = format!(
            "step {}: {} {:.4} on {}",
            reached.step, reached.score.metric, reached.score.value, reached.score.split
        );
        progress.say(&line);
        self.log.note(
            "evaluation",
            reached.step,
            &[(&reached.score.metric, reached.score.value)],
        )?;
        if reached.beats(self.state.best.as_ref()) {
            let saved = Saved {
                step: reached.step,
                reached: Some(reached.clone()),
                ..saved.clone()
            };
            saved.write(&folder.join("best"), &self.network, None)?;
            self.state.best = Some(reached);
            self.state.without_gain = 0;
        } else {
            self.state.without_gain += 1;
        }
        self.exchange()
    }

    fn save_last(&self) -> Result<()> {
        let saved = Saved {
            step: self.state.step,
            reached: self.state.best.clone(),
            ..self.training.saved.clone()
        };
        let training = (&self.state, &self.optimiser, self.average.as_ref());
        saved.write(
            &self.training.folder.join("last"),
            &self.network,
            Some(training),
        )
    }

    fn note(&mut self, sums: &Sums) -> Result<()> {
        let seconds = sums.seconds;
        let count = sums.steps.max(1) as f64;
        let rate = self.schedule.rate(self.state.step.saturating_sub(1));
        let (loss, norm) = (sums.loss / count, sums.norm / count);
        let per_second = sums.rows as f64 / seconds.max(1e-9);
        let values = [
            ("loss", loss),
            ("learning_rate", rate),
            ("gradient_norm", norm),
            ("rows_per_s", per_second),
            ("tokens_per_s", sums.tokens as f64 / seconds.max(1e-9)),
            ("peak_memory_mb", peak_memory()),
            ("skipped_steps", f64::from(self.state.scaler.skipped)),
        ];
        self.log.note("train", self.state.step, &values)?;
        let (step, steps) = (self.state.step, self.schedule.steps);
        self.training
            .progress
            .say(&format!("step {step} of {steps}: loss {loss:.4}, rate {rate:.2e}, gradient norm {norm:.2}, {per_second:.0} rows/s"));
        Ok(())
    }
}

impl Sums {
    fn add(&mut self, (loss, norm): (f64, f64), batch: &Batch, rows: &TrainingRows, seconds: f64) {
        self.seconds += seconds;
        self.steps += 1;
        self.loss += loss;
        self.norm += norm;
        self.rows += batch.places.len();
        self.tokens += rows.tokens(&batch.places);
    }
}
