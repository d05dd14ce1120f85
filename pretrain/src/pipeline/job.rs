//! From what was typed to a job.

use std::path::{Path, PathBuf};

use flava_evaluator::DataLocator;
use flava_model::runtime::Precision;
use flava_training::Sharding;
use tch::Device;

use crate::{
    Error, Result, RunArgs,
    machines::{Gpu, NetworkSpeed},
    recipe::{Recipe, RowKind, Stage},
};

/// What is run, and how.
pub struct Job {
    /// As it was named.
    pub name: String,
    /// The recipe.
    pub recipe: Recipe,
    /// Folder that the corpora are below.
    pub data: PathBuf,
    /// Folder of everything that is made.
    pub out: PathBuf,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Where it runs.
    pub device: Device,
    /// Kind of products.
    pub precision: Precision,
    /// Threads that make batches.
    pub threads: usize,
    /// Rows that go through the model at once; 0 for all.
    pub micro_batch: usize,
    /// Whether activations are computed again.
    pub recompute: bool,
    /// The last stage that is run; all of the recipe's without.
    pub until: Option<String>,
    /// What of a training each of several processes has only a part of; as little as fits without.
    pub sharding: Option<Sharding>,
    /// Where models are looked for.
    pub positions: DataLocator,
    /// Machines that a run is only planned for, and how many processes.
    pub planned: Option<(Gpu, NetworkSpeed, usize)>,
    /// Whether no socket is opened.
    pub offline: bool,
    /// Whether nothing is said.
    pub quiet: bool,
}

impl Job {
    /// The stages that are run, in order.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (&str, &Stage)> {
        let mut reached = false;
        self.recipe.stages().take_while(move |(name, _)| {
            !std::mem::replace(&mut reached, self.until.as_deref() == Some(*name))
        })
    }
}

/// Decides a run. `until` names the kind of stage that ends it.
pub fn job_of(args: &RunArgs, until: Option<&str>) -> Result<Job> {
    let mut set = match &args.pairs {
        Some(pairs) => super::own_pairs::settings_of(pairs)?,
        None => Vec::new(),
    };
    set.extend(args.set.iter().cloned());
    let recipe = Recipe::open(&args.recipe, &set)?;
    let (offline, quiet) = (args.network.offline, args.device_args.quiet);
    let (device, threads) = args.device_args.resolve()?;
    let until = until
        .map(|kind| stage_of_kind(&recipe, kind, &args.recipe))
        .transpose()?;
    let out = args.out.clone();
    Ok(Job {
        name: args.recipe.clone(),
        recipe,
        data: args.data.clone(),
        out: out.unwrap_or_else(|| default_out(&args.recipe)),
        seed: args.seed,
        device,
        precision: args.device_args.precision,
        threads,
        micro_batch: args.micro_batch,
        recompute: args.recompute,
        until,
        sharding: args.together.sharding()?,
        positions: DataLocator::new(None, offline, quiet)?,
        planned: args
            .gpu
            .map(|gpu| (gpu, args.network_speed, usize::from(args.processes))),
        offline,
        quiet,
    })
}

/// The name of a recipe's first stage of a kind.
fn stage_of_kind(recipe: &Recipe, kind: &str, name: &str) -> Result<String> {
    let mut stages = recipe.stages();
    let found = stages.find(|(_, stage)| stage.kind() == kind);
    let found = found.map(|(name, _)| name.to_owned());
    found.ok_or_else(|| Error::Input(format!("{name} has no stage that makes a {kind}")))
}

/// Where a recipe's results go.
fn default_out(recipe: &str) -> PathBuf {
    let stem = Path::new(recipe).file_stem();
    let stem = stem.map_or_else(
        || recipe.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    PathBuf::from("pretrained").join(stem)
}

/// The corpora that a stage reads, and what it reads of their rows.
pub(super) fn roles_of(stage: &Stage) -> Vec<(&str, RowKind)> {
    match stage {
        Stage::Tokenizer(stage) if stage.from.is_empty() => stage
            .corpora
            .iter()
            .map(|corpus| (corpus.as_str(), RowKind::Texts))
            .collect(),
        Stage::Codebook(stage) if stage.from.is_empty() => vec![(&stage.corpus, RowKind::Images)],
        Stage::Tokenizer(_) | Stage::Codebook(_) => Vec::new(),
        Stage::Dino(stage) => vec![(&stage.corpus, RowKind::Images)],
        Stage::Train(stage) => stage
            .mixture
            .iter()
            .filter(|share| share.ratio > 0.0)
            .map(|share| (share.corpus.as_str(), share.rows))
            .collect(),
    }
}

/// The corpora that a stage reads.
pub(super) fn corpora_of(stage: &Stage) -> impl Iterator<Item = &str> {
    roles_of(stage).into_iter().map(|(corpus, _)| corpus)
}
