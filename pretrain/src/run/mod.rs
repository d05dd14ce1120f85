//! Runs a recipe: its stages in order, each in a folder of its own, each gone on from where it was left.

mod prepare;
mod stages;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use clap::Parser;
use flava_evaluator::{Places, Plan, args::EvalArgs};
use flava_model::{
    FlavaConfig,
    checkpoint::{Architecture, Checkpoint, write_directory, write_file},
    processor::TextProcessor,
    runtime::{LoaderOptions, Precision, Progress, hex, training::Log},
};
use flava_results::lock_folder;
use flava_tasks::Dataset;
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    draws::Draws,
    interrupted,
    order::{Order, Rank},
    recipe::{Evaluate, FinalWeights, Recipe, Stage},
    trainer::peak_of,
};

/// Rows whose contents go into a corpus's digest.
const FINGERPRINT_ROWS: usize = 16;
/// Folder of the result.
const MODEL: &str = "model";

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
    pub loader: LoaderOptions,
    /// Rows that go through the model at once; 0 for all.
    pub micro_batch: usize,
    /// Whether activations are computed again.
    pub recompute: bool,
    /// Stages that are run; all of the recipe's without.
    pub only: Option<Vec<String>>,
    /// Which part of the data is this process's.
    pub rank: Rank,
    /// Of the Hub.
    pub places: Places,
    /// Whether nothing is said.
    pub quiet: bool,
}

/// What earlier stages made.
#[derive(Default)]
struct Made {
    text: Option<Arc<TextProcessor>>,
    codebook: Option<PathBuf>,
    /// Folders of the trained models, by stage.
    models: BTreeMap<String, PathBuf>,
    /// Digests of all that decides each stage.
    keys: BTreeMap<String, String>,
}

struct Run<'a> {
    job: &'a Job,
    progress: Progress,
    corpora: Mutex<BTreeMap<String, Arc<dyn Dataset>>>,
    made: Made,
    peak: f64,
}

/// Runs the job's stages; the folder of the last model.
pub fn run(job: &Job) -> Result<Option<PathBuf>> {
    fs::create_dir_all(&job.out).map_err(|e| flava_model::Error::io(&job.out, e))?;
    let _lock = lock_folder(&job.out)?;
    let steps = job.recipe.stages().map(|(_, stage)| stage.steps()).sum();
    let mut progress = Progress::new(steps, "steps", job.quiet);
    let log = job.out.join("run.log");
    progress.log_to(&log).map_err(|e| flava_model::Error::io(&log, e))?;
    write_file(&job.out.join("recipe.toml"), job.recipe.to_toml()?.as_bytes())?;
    let mut run = Run { job, progress, corpora: Mutex::default(), made: Made::default(), peak: peak_of(job.device, job.precision)? };
    run.check_corpora()?;
    let mut last = None;
    let mut reached = 0;
    for (name, stage) in job.recipe.stages() {
        run.progress.reach(reached);
        last = run.stage(name, stage)?.or(last);
        reached += stage.steps();
        if job.only.as_ref().is_some_and(|only| only.last().is_some_and(|last| last == name)) {
            run.progress.finish();
            return Ok(last);
        }
    }
    let last = last.map(|folder| run.finish(&folder)).transpose()?;
    run.progress.finish();
    Ok(last)
}

/// The corpora that a stage reads.
pub(crate) fn corpora_of(stage: &Stage) -> Vec<&str> {
    match stage {
        Stage::Tokenizer(stage) => stage.corpora.iter().map(String::as_str).collect(),
        Stage::Codebook(stage) if stage.from.is_empty() => vec![&stage.corpus],
        Stage::Codebook(_) => Vec::new(),
        Stage::Dino(stage) => vec![&stage.corpus],
        Stage::Train(stage) => stage.mixture.iter().filter(|share| share.ratio > 0.0).map(|share| share.corpus.as_str()).collect(),
    }
}

impl Run<'_> {
    fn wanted(&self, name: &str) -> bool {
        self.job.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == name))
    }

    /// Opens every corpus before the first step, so that what is missing is missed now.
    fn check_corpora(&self) -> Result<()> {
        for (_, stage) in self.job.recipe.stages().filter(|(name, _)| self.wanted(name)) {
            for corpus in corpora_of(stage) {
                self.corpus(corpus)?;
            }
        }
        Ok(())
    }

    fn corpus(&self, name: &str) -> Result<Arc<dyn Dataset>> {
        let mut corpora = self.corpora.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = corpora.get(name) {
            return Ok(Arc::clone(known));
        }
        let corpus = self.job.recipe.corpora.get(name).ok_or_else(|| Error::Input(format!("there is no corpus {name}")))?;
        // The world stays the same for all seeds of a run; what is drawn from it does not.
        let dataset = corpus.open(&self.job.data, 0)?;
        corpora.insert(name.to_owned(), Arc::clone(&dataset));
        Ok(dataset)
    }

    /// Batches of a corpus.
    fn draws(&self, name: &str, batch_size: usize) -> Result<Draws> {
        let dataset = self.corpus(name)?;
        let order = Order::new(name, dataset.len(), self.job.recipe.shuffle_buffer, self.job.seed);
        Ok(Draws { name: name.to_owned(), dataset, order, rank: self.job.rank, batch_size })
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.job.out.join(name)
    }

    /// Runs a stage, or takes what it made before; the folder of its model, if it makes one.
    fn stage(&mut self, name: &str, stage: &Stage) -> Result<Option<PathBuf>> {
        interrupted()?;
        let key = self.key(name, stage)?;
        let made = match stage {
            Stage::Tokenizer(stage) => self.tokenizer(name, stage, &key).map(|()| None),
            Stage::Codebook(stage) => self.codebook(name, stage, &key).map(|()| None),
            Stage::Dino(stage) => self.dino(name, stage, &key).map(Some),
            Stage::Train(stage) => self.train(name, stage, &key).map(Some),
        }?;
        self.made.keys.insert(name.to_owned(), key);
        if let Some(folder) = &made {
            self.made.models.insert(name.to_owned(), folder.clone());
        }
        Ok(made)
    }

    /// A digest of everything that decides what a stage makes.
    fn key(&self, name: &str, stage: &Stage) -> Result<String> {
        let mut corpora = BTreeMap::new();
        for corpus in corpora_of(stage) {
            corpora.insert(corpus, fingerprint(&*self.corpus(corpus)?));
        }
        let earlier: Vec<&String> = match stage {
            Stage::Tokenizer(_) | Stage::Codebook(_) => Vec::new(),
            Stage::Dino(_) => self.of_kinds(&["tokenizer", "codebook"]),
            Stage::Train(stage) => {
                let from = stage.init.iter().filter_map(|init| self.made.keys.get(&init.from));
                self.of_kinds(&["tokenizer", "codebook"]).into_iter().chain(from).collect()
            }
        };
        let recipe = &self.job.recipe;
        let all = json!({
            "stage": stage, "model": recipe.model, "image_masks": recipe.image_masks, "shuffle_buffer": recipe.shuffle_buffer,
            "corpora": corpora, "earlier": earlier, "seed": self.job.seed, "precision": self.job.precision.name(),
            "cuda": self.job.device.is_cuda(), "rank": [self.job.rank.rank, self.job.rank.world], "name": name,
        });
        Ok(hex(&Sha256::digest(all.to_string())[..12]))
    }

    fn of_kinds(&self, kinds: &[&str]) -> Vec<&String> {
        let stages = self.job.recipe.stages().filter(|(_, stage)| kinds.contains(&stage.kind()));
        stages.filter_map(|(name, _)| self.made.keys.get(name)).collect()
    }

    /// Measures a model by `flava-eval`'s tasks; the main metric of the one that states are chosen by.
    fn measure(&self, stage: &str, folder: &Path, evaluate: &Evaluate, (step, log): (usize, &mut Log)) -> Result<Option<f64>> {
        let out = self.job.out.join(stage).join("evaluations").join(format!("step-{step}"));
        let text = |path: &Path| path.display().to_string();
        let words = ["flava-eval", "--model", &text(folder), "--tasks", &evaluate.tasks, "--out", &text(&out), "--quiet", "--no-cache"]
            .map(str::to_owned);
        let args = EvalArgs::try_parse_from(words).map_err(|e| Error::Training(e.to_string()))?;
        let outcome = flava_evaluator::run(&Plan::new(&args.run)?)?;
        if outcome.interrupted {
            return Err(Error::Interrupted);
        }
        for (task, error) in &outcome.failures {
            self.progress.say(&format!("{stage}, step {step}: {task} failed: {error}"));
        }
        let scores: Vec<(String, f64)> = outcome.records.iter().map(|record| (record.task.clone(), record.main().value)).collect();
        let named: Vec<(&str, f64)> = scores.iter().map(|(task, score)| (task.as_str(), *score)).collect();
        log.note("evaluation", step, &named)?;
        let line: Vec<String> = scores.iter().map(|(task, score)| format!("{task} {score:.3}")).collect();
        self.progress.say(&format!("{stage}, step {step}: {}", line.join(", ")));
        Ok(scores.iter().find(|(task, _)| *task == evaluate.best_by).map(|(_, score)| *score))
    }

    /// Writes the last model without what training needs, in the kind that the recipe asks for.
    fn finish(&self, folder: &Path) -> Result<PathBuf> {
        let out = self.job.out.join(MODEL);
        let config = FlavaConfig::from_file(&folder.join("config.json"))?;
        let checkpoint = Checkpoint::open(folder)?;
        let kind = if self.job.recipe.final_weights == FinalWeights::F16 { Kind::Half } else { Kind::Float };
        let tensors = checkpoint.tensors().iter();
        let tensors = tensors
            .map(|(name, tensor)| Ok((name.clone(), tensor.to_tensor()?.f_to_kind(kind)?)))
            .collect::<Result<Vec<(String, Tensor)>>>()?;
        let processor = self.job.recipe.processor(&config);
        write_directory(&out, Architecture::FlavaForPreTraining, &config, tensors, &processor, &*self.text()?)?;
        write_file(&out.join("recipe.toml"), self.job.recipe.to_toml()?.as_bytes())?;
        Ok(out)
    }
}

/// Writes the model that a recipe's training begins with: seeded weights, no stage run but those that make tokenizer and codebook.
pub fn init(job: &Job) -> Result<PathBuf> {
    let mut run = Run { job, progress: Progress::new(0, "steps", job.quiet), corpora: Mutex::default(), made: Made::default(), peak: 0.0 };
    let names: Vec<(String, Stage)> = job.recipe.stages().map(|(name, stage)| (name.to_owned(), stage.clone())).collect();
    for (name, stage) in names.iter().filter(|(_, stage)| matches!(stage, Stage::Tokenizer(_))) {
        run.stage(name, stage)?;
    }
    let config = run.config()?;
    let (model, store) = run.model(config)?;
    let out = job.out.join(MODEL);
    let processor = job.recipe.processor(&model.config);
    write_directory(&out, Architecture::FlavaForPreTraining, &model.config, store.variables(), &processor, &*run.text()?)?;
    Ok(out)
}

/// Whether a stage that is not trained step by step is done; an error where it was done otherwise.
fn is_done(folder: &Path, key: &str) -> Result<bool> {
    let path = folder.join("key");
    match fs::read_to_string(&path) {
        Ok(before) if before.trim() == key => Ok(true),
        Ok(_) => {
            let reason = "was made by other settings or from other corpora; choose another --out, or remove it";
            Err(Error::Training(format!("{}: {reason}", folder.display())))
        }
        Err(_) => Ok(false),
    }
}

/// A digest of a corpus: its length, and ids and texts spread over it.
fn fingerprint(dataset: &dyn Dataset) -> String {
    let rows = dataset.len();
    let mut digest = Sha256::new();
    digest.update(rows.to_le_bytes());
    let pieces = FINGERPRINT_ROWS.min(rows);
    for piece in 0..pieces {
        let row = piece * rows / pieces;
        digest.update(dataset.id(row));
        if let Ok(example) = dataset.get(row) {
            digest.update(example.texts.join("\n"));
            digest.update(example.image.unwrap_or_default());
        }
    }
    hex(&digest.finalize()[..8])
}
