//! Measuring a model in training by `flava-eval`'s tasks.

use std::path::{Path, PathBuf};

use flava_base::error_lines;
use flava_evaluator::{DataLocator, Outcome, Plan, Settings, args::BatchSize};
use flava_model::{AttentionKind, LoadOptions, processor::PassOrder};
use flava_training::Log;

use super::{job::Job, run::Run};
use crate::{
    Error, Result,
    recipe::{Evaluate, MODEL_FOLDER},
};

/// A model in training that is measured.
pub(super) struct Measured<'a> {
    /// The stage that trains it.
    pub(super) stage: &'a str,
    /// Updates until then.
    pub(super) step: usize,
    /// Where it is.
    pub(super) folder: &'a Path,
}

impl Job {
    /// The measurement of a folder's model, with records in `out`.
    fn evaluation(
        &self,
        evaluate: &Evaluate,
        folder: &Path,
        out: PathBuf,
        offline: bool,
    ) -> Result<Plan> {
        let data = evaluate.data.as_ref().map(|data| self.data.join(data));
        let positions = DataLocator::new(data, offline, self.quiet)?;
        let (tasks, settings) = (&evaluate.tasks, self.settings());
        Ok(Plan::of_checkpoint(
            folder, tasks, out, positions, settings,
        )?)
    }

    /// Whether the data that models in training are measured on is there, or can be fetched.
    pub(super) fn check_evaluation(&self, evaluate: &Evaluate, offline: bool) -> Result<()> {
        let (folder, out) = (Path::new(MODEL_FOLDER), PathBuf::new());
        let plan = self.evaluation(evaluate, folder, out, offline)?;
        Ok(plan.check_data()?)
    }

    /// How `flava-eval`'s tasks are run on a model in training: where and as it is trained itself.
    fn settings(&self) -> Settings {
        Settings {
            load: LoadOptions {
                device: self.device,
                precision: self.precision,
                attention: AttentionKind::Fused,
            },
            batch_size: BatchSize::Auto,
            store_f16: false,
            threads: self.threads,
            order: PassOrder::default(),
            skip_broken: false,
            quiet: true,
        }
    }
}

impl Run<'_> {
    /// Measures a model by `flava-eval`'s tasks; the main metric of the one that states are chosen
    /// by.
    pub(super) fn measure(
        &self,
        measured: &Measured,
        evaluate: &Evaluate,
        log: &mut Log,
    ) -> Result<Option<f64>> {
        let Measured {
            stage,
            step,
            folder,
        } = *measured;
        let records = self.folder(stage).join("evaluations");
        let out = records.join(format!("step-{step}"));
        let (job, offline) = (self.job, self.job.offline);
        let peers = self.group.peers();
        let outcome = flava_evaluator::run(
            &job.evaluation(evaluate, folder, out, offline)?,
            &peers.within(&format!("{stage}/step-{step}"))?,
        )?;
        if outcome.interrupted {
            return Err(Error::Interrupted);
        }
        if !self.group.leads() {
            return Ok(None); // process 0 has what all measured
        }
        for (task, error) in &outcome.failures {
            let told = format!("{stage}, step {step}: {task} failed: {error}");
            for line in error_lines(&told) {
                self.progress.say(&line);
            }
        }
        let scores = scores_of(&outcome);
        log.note("evaluation", step, &scores)?;
        let named = |(task, score): &(&str, f64)| format!("{task} {score:.3}");
        let line: Vec<String> = scores.iter().map(named).collect();
        if !line.is_empty() {
            self.progress
                .say(&format!("{stage}, step {step}: {}", line.join(", ")));
        }
        let best_by = evaluate.task_of_best().map_err(Error::Input)?;
        let best = scores.iter().find(|(task, _)| *task == best_by);
        Ok(best.map(|(_, score)| *score))
    }
}

/// The main metric of each task.
fn scores_of(outcome: &Outcome) -> Vec<(&str, f64)> {
    let records = outcome.records.iter();
    records
        .map(|record| (record.task.as_str(), record.main().value))
        .collect()
}
