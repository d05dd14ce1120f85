//! What is trained in fine-tuning: an encoder and a head, by a task's recipe.

use std::{ops::Range, path::Path, sync::Arc};

use flava_base::is_there;
use flava_model::runtime::{Autocast, Progress, distributed::Group};
use flava_tasks::{Metric, Recipe};
use flava_training::{
    AdamWConfig, BatchRows, Batches, Candidate, Evaluation, Learner, Log, LrSchedule, ParameterSet,
    Sharding, Step, StepMetrics, Trained, Trainer, TrainerConfig, TrainingState,
};
use sha2::{Digest, Sha256};

use super::{
    FinetunedModel, Network, ValidationScore,
    batches::{Batch, TrainingRows},
    depth::by_depth,
    predict::{Asked, autocast_of, predictions, scored},
};
use crate::{Error, Result, Settings, features::Rows};

/// What is trained on what, and where it goes.
pub(crate) struct FineTuning<'a> {
    pub(crate) train: &'a Rows,
    /// The rows that checkpoints are chosen on.
    pub(crate) validation: &'a Rows,
    pub(crate) metrics: &'a [Metric],
    pub(crate) recipe: &'a Recipe,
    /// Of the saved folders; its step and score change.
    pub(crate) saved: FinetunedModel,
    pub(crate) folder: &'a Path,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// Rows that go through the network at once; 0 takes the whole batch, and fewer where memory is
    /// short.
    pub(crate) micro_batch: usize,
    pub(crate) recompute: bool,
    pub(crate) sharding: Option<Sharding>,
    /// The processes that train together.
    pub(crate) group: &'a Group,
}

/// The network in training.
struct TaskLearner<'a> {
    tuning: &'a FineTuning<'a>,
    network: Network,
    rows: Arc<TrainingRows>,
    /// The score of the last evaluation.
    reached: Option<ValidationScore>,
}

impl FineTuning<'_> {
    /// Trains a network, or goes on where that was left, into the folder `best`.
    pub(crate) fn run(&self, mut network: Network) -> Result<()> {
        let (recipe, seed) = (self.recipe, self.saved.seed);
        let rows =
            TrainingRows::new(self.train, &network, recipe, self.settings, seed)?.of(self.group);
        network.flava.set_recompute(self.recompute);
        let batches_of_a_pass = rows.batches_of_a_pass();
        let learner = TaskLearner {
            tuning: self,
            network,
            rows: Arc::new(rows),
            reached: None,
        };
        let evaluate = |learner: &mut TaskLearner, candidate: &Candidate, log: &mut Log| {
            learner.evaluate(candidate.step, log)
        };
        let every = Some(recipe.evaluate_every).filter(|&every| every > 0);
        let evaluation = Evaluation {
            every: every.unwrap_or(batches_of_a_pass),
            patience: recipe.patience,
            best_by: self.metrics.first().map_or("", |metric| metric.name()),
            evaluate: &evaluate,
        };
        let config = config(recipe, batches_of_a_pass);
        check_chosen(&self.trainer(config, evaluation).run(learner)?)
    }

    fn trainer<'t, L: Learner>(
        &'t self,
        config: TrainerConfig,
        evaluation: Evaluation<'t, L>,
    ) -> Trainer<'t, L> {
        Trainer {
            name: "training",
            folder: self.folder,
            config,
            seed: self.saved.seed,
            key: &self.saved.key,
            precision: self.settings.load.precision,
            micro_batch: self.micro_batch,
            group: self.group,
            sharding: self.sharding,
            progress: self.progress,
            evaluation: Some(evaluation),
            device: self.settings.load.device,
            peak_flops: 0.0,
        }
    }
}

/// A state was chosen.
fn check_chosen(trained: &Trained) -> Result<()> {
    if trained.state.best.is_some() && is_there(&trained.folder) {
        return Ok(());
    }
    Err(Error::NeverScored)
}

/// The learning rates of a recipe, of which a pass over the rows has so many batches.
fn lr_schedule(recipe: &Recipe, batches_of_a_pass: usize) -> LrSchedule {
    let of_epochs = recipe.epochs.unwrap_or(0.0) * batches_of_a_pass as f64;
    let steps = recipe
        .steps
        .unwrap_or_else(|| of_epochs.round().max(1.0) as usize);
    let warmup = if recipe.warmup < 1.0 {
        (recipe.warmup * steps as f64).round() as usize
    } else {
        recipe.warmup as usize
    };
    LrSchedule {
        peak: recipe.learning_rate,
        last: 0.0,
        warmup,
        steps,
        decay: recipe.decay,
    }
}

/// How the trainer makes the steps of a recipe, of which a pass over the rows has so many.
fn config(recipe: &Recipe, batches_of_a_pass: usize) -> TrainerConfig {
    TrainerConfig {
        lr_schedule: lr_schedule(recipe, batches_of_a_pass),
        adamw: AdamWConfig {
            betas: recipe.betas,
            eps: recipe.eps,
            weight_decay: recipe.weight_decay,
            decay_all: recipe.decay_all,
        },
        clip_norm: recipe.clip_norm,
        ema: recipe.ema,
        save_every: 0,
        keep: 0,
        max_broken: 0.0,
    }
}

impl TaskLearner<'_> {
    /// Scores the rows that checkpoints are chosen on.
    fn evaluate(&mut self, step: usize, log: &mut Log) -> Result<Option<f64>> {
        let tuning = self.tuning;
        let (rows, progress, metrics) = (tuning.validation, tuning.progress, tuning.metrics);
        let max_tokens = tuning.recipe.max_tokens;
        let asked = Asked {
            rows,
            max_tokens,
            settings: tuning.settings,
            progress,
            group: tuning.group,
        };
        let answers = predictions(&mut self.network, &asked)?;
        let Some(score) = scored(metrics, &answers, &tuning.saved.task, &rows.split.name) else {
            let metric = metrics.first().map_or("", |metric| metric.name());
            progress.say(&format!(
                "step {step}: {metric} is not defined: every answer is the same"
            ));
            return Ok(None);
        };
        let (metric, value) = (&score.metric, score.value);
        progress.say(&format!(
            "step {step}: {metric} {value:.4} on {}",
            score.split
        ));
        log.note("evaluation", step, &[(metric, value)])?;
        self.reached = Some(ValidationScore { step, score });
        Ok(Some(value))
    }
}

impl Learner for TaskLearner<'_> {
    type Batch = Batch;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<Batch, Error> {
        let loader = self.tuning.settings.loader();
        Box::new(self.rows.steps(steps, loader))
    }

    fn rows<'b>(&self, batch: &'b Batch) -> &'b BatchRows {
        &batch.own
    }

    fn flops(&self, _batch: &Batch) -> f64 {
        0.0
    }

    /// The head's, at its own learning rate, after the encoders'.
    fn parameters(&self) -> Vec<ParameterSet> {
        let (head, encoders): (Vec<_>, Vec<_>) = self
            .network
            .trained()
            .into_iter()
            .partition(|(name, _)| name.starts_with("classifier."));
        let recipe = self.tuning.recipe;
        let mut head = ParameterSet::new(head);
        head.lr_scale = recipe.head_rate_factor;
        let mut sets = by_depth(encoders, &self.network.config, recipe.layer_rate_decay);
        sets.push(head);
        sets
    }

    fn backward(&mut self, batch: &Batch, step: &Step) -> Result<StepMetrics> {
        let device = self.network.store.device();
        let mut metrics = StepMetrics::default();
        metrics.tokens = self.rows.tokens(&batch.positions);
        for part in step.parts(&batch.own) {
            if part.rows.is_empty() {
                continue;
            }
            step.begin(&part);
            let share = step.share(&part);
            let inputs = self.rows.inputs(batch, part.rows.clone(), &self.network)?;
            let targets = self.rows.targets(batch, part.rows.clone(), &self.network)?;
            let loss = {
                let _autocast = Autocast::new(device, autocast_of(self.tuning.settings))?;
                let outputs = self.network.forward(&inputs, true)?;
                let smoothing = self.tuning.recipe.label_smoothing;
                self.network.output.loss(&outputs, &targets, smoothing)?
            };
            let of_part = loss.f_to_kind(tch::Kind::Double)?.f_mul_scalar(share)?;
            metrics.add_loss(self.network.output.loss_name(), &of_part)?;
            step.begin_backward(&part);
            loss.f_mul_scalar(share * step.loss_scale)?.f_backward()?;
        }
        if batch.positions.is_empty() {
            metrics.add_no_loss(self.network.output.loss_name())?; // others have it
        }
        Ok(metrics)
    }

    /// Dropout depends on the seed and the step alone. The rule is that of the first recipes:
    /// another would give other numbers.
    fn step_seed(&self, seed: u64, _name: &str, number: usize) -> i64 {
        let digest = Sha256::digest(format!("dropout {seed} {number}"));
        i64::from_le_bytes(digest[..8].try_into().unwrap_or_default())
    }

    fn save(&self, folder: &Path, state: &TrainingState) -> Result<()> {
        let reached = self.reached.clone().filter(|_| state.is_best());
        let saved = FinetunedModel {
            step: state.step,
            reached,
            ..self.tuning.saved.clone()
        };
        saved.write(folder, &self.network)
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        self.network.load(folder)
    }
}
