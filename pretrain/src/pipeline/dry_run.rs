//! What a job would take, without running it.

use std::{collections::BTreeMap, fmt::Write};

use flava_base::human_duration;
use flava_model::FlavaConfig;
use flava_training::{Reduction, Sharding, peak_flops};

use super::{
    cost::{bytes_of_batch, flops_of, operations_of_steps, operations_of_tokens, parameters},
    job::{Job, corpora_of},
    scale::Scale,
};
use crate::{
    Error, Result,
    recipe::{Recipe, RowKind, Stage, TrainStage},
};

/// Share of a large product's speed that a training step is taken to reach before anything was
/// measured.
const SHARE_OF_PEAK: f64 = 0.5;
/// What is said of a corpus, or of data to measure on, that cannot be opened.
const NOT_THERE: &str = "not there";
/// Tokens of a tokenizer whose size the recipe does not say: BERT's.
const USUAL_WORDS: usize = 30_522;

/// What a job would do: corpora that are there, sizes, operations and time at this machine's speed.
pub fn dry_run(job: &Job) -> Result<(String, bool)> {
    let plan = DryRun {
        job,
        config: job.recipe.config(words_of(&job.recipe))?,
        peak: peak_flops(job.device, job.precision)?,
    };
    let mut lines = plan.whole();
    let rows = plan.rows();
    lines.extend(plan.corpora(&rows));
    let known = |corpus: &str| rows.get(corpus).and_then(|rows| rows.as_ref().ok());
    let (mut total, mut all) = (0.0, 0.0);
    for (name, stage) in job.stages() {
        let flops = flops_of(stage, &plan.config, job.recipe.image_masks);
        let steps = operations_of_steps(stage, &plan.config, job.recipe.image_masks);
        let rows = |corpus: &str| known(corpus).copied().unwrap_or(0);
        let operations = steps + operations_of_tokens(stage, &plan.config, &rows);
        total += flops;
        all += operations;
        lines.push(plan.stage(name, stage, flops, operations));
        lines.extend(plan.evaluation(stage));
    }
    lines.push(format!(
        "all: {total:.1e} FLOP, about {} at {:.0} % of that speed; results in {}",
        plan.time(all),
        SHARE_OF_PEAK * 100.0,
        job.out.display()
    ));
    lines.extend(plan.scale()?);
    let ready = !lines.iter().any(|line| line.contains(NOT_THERE));
    Ok((lines.join("\n"), ready))
}

/// Tokens of the tokenizer that a recipe makes.
pub(super) fn words_of(recipe: &Recipe) -> usize {
    let words = recipe.stages().find_map(|(_, stage)| match stage {
        Stage::Tokenizer(stage) => Some(stage.vocab_size),
        _ => None,
    });
    words.filter(|words| *words > 0).unwrap_or(USUAL_WORDS)
}

/// A job that is only described.
struct DryRun<'a> {
    job: &'a Job,
    config: FlavaConfig,
    /// Operations a second of a large product.
    peak: f64,
}

impl DryRun<'_> {
    /// The corpora that are read, each with its rows, or why it cannot be opened.
    fn rows(&self) -> BTreeMap<&str, std::result::Result<usize, String>> {
        let used = self.job.stages().flat_map(|(_, stage)| corpora_of(stage));
        let rows = |name: &str| {
            let opened = self.job.recipe.corpora[name].open(&self.job.data, 0);
            opened
                .map(|dataset| dataset.len())
                .map_err(|error| error.to_string())
        };
        used.map(|name| (name, rows(name))).collect()
    }

    /// How long so many operations take.
    fn time(&self, flops: f64) -> String {
        human_duration(flops / (self.peak * SHARE_OF_PEAK))
    }

    /// The recipe, the model and the machine.
    fn whole(&self) -> Vec<String> {
        let Job { name, recipe, .. } = self.job;
        let mut lines = vec![format!("{name}: {}", recipe.summary)];
        for (name, text) in [("cost", &recipe.cost), ("expect", &recipe.expect)] {
            if !text.is_empty() {
                lines.push(format!("{name}: {text}"));
            }
        }
        let count = parameters(&self.config);
        lines.push(format!(
            "model: {:.1} M parameters; weights, gradients and moments {:.1} GB, activations on top",
            count / 1e6,
            count * 16.0 / 1e9
        ));
        lines.push(format!(
            "machine: a large product reaches {:.0} GFLOP/s in {}",
            self.peak / 1e9,
            self.job.precision.name()
        ));
        lines
    }

    /// Each corpus that is read, and whether it is there.
    fn corpora(&self, rows: &BTreeMap<&str, std::result::Result<usize, String>>) -> Vec<String> {
        let line = |(name, rows): (&&str, &std::result::Result<usize, String>)| {
            let corpus = &self.job.recipe.corpora[*name];
            let state = match rows {
                Ok(rows) => format!("{rows} rows"),
                Err(error) => format!("{NOT_THERE}: {error}"),
            };
            format!("corpus {name} ({}): {state}", corpus.name())
        };
        rows.iter().map(line).collect()
    }

    /// A stage of so many products, which takes as long as so many operations.
    fn stage(&self, name: &str, stage: &Stage, flops: f64, operations: f64) -> String {
        let steps = stage.steps();
        let mut line = format!("stage {name} ({})", stage.kind());
        if steps > 0 {
            let gigabytes = bytes_of_batch(stage, &self.config) / 1e9;
            let large = if gigabytes < 0.1 {
                String::new()
            } else {
                format!(", batches of {gigabytes:.1} GB, two at once")
            };
            let _written = write!(line, ": {steps} steps{large}");
        }
        if flops > 0.0 {
            let time = self.time(operations);
            let _written = write!(line, ", {flops:.1e} FLOP, about {time}");
        }
        line
    }

    /// What a step of the last stage of pairs would take on other machines.
    fn scale(&self) -> Result<Vec<String>> {
        let Some((gpu, network, processes)) = self.job.planned else {
            return Ok(Vec::new());
        };
        let pairs = |stage: &TrainStage| {
            let mut shares = stage.mixture.iter();
            shares.any(|share| share.ratio > 0.0 && share.rows == RowKind::Pairs)
        };
        let stages = self.job.stages().filter_map(|(_, stage)| match stage {
            Stage::Train(stage) if pairs(stage) => Some(stage),
            _ => None,
        });
        let stage = stages
            .last()
            .ok_or_else(|| Error::Input("--gpu: no stage of the recipe reads pairs".into()))?;
        let scale = Scale {
            config: &self.config,
            stage,
            masks: self.job.recipe.image_masks,
            gpu,
            network,
            micro_batch: self.job.micro_batch,
            recompute: self.job.recompute,
            reduction: match self.job.sharding {
                Some(Sharding::Full(reduction)) => reduction,
                _ => Reduction::default(),
            },
        };
        Ok(scale.table(processes))
    }

    /// What a stage is measured on, and whether that is there.
    fn evaluation(&self, stage: &Stage) -> Option<String> {
        let Stage::Train(stage) = stage else {
            return None;
        };
        let evaluate = stage.evaluate.as_ref()?;
        let state = self
            .job
            .check_evaluation(evaluate, true)
            .map_or_else(|error| format!("{NOT_THERE}: {error}"), |()| "ready".into());
        Some(format!(
            "    measured every {} steps on {}: {state}",
            evaluate.every, evaluate.tasks
        ))
    }
}
