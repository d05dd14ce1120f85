//! Runs a recipe: its stages in order, each in a folder of its own, each gone on from where it was
//! left.

mod prepare;
mod stages;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use flava_base::{DigestIndex, did_you_mean, hex, lock_folder};
use flava_evaluator::{Places, Plan, Settings, args::BatchSize};
use flava_model::{
    AttentionKind, FlavaConfig, LoadOptions,
    checkpoint::{Architecture, Checkpoint, write_directory},
    processor::{PassOrder, TextProcessor},
    runtime::{Precision, Progress},
};
use flava_tasks::Dataset;
use flava_training::{Log, peak_flops};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    draws::Draws,
    interrupted,
    order::{Order, Rank},
    recipe::{Evaluate, FinalWeights, Init, Recipe, RowKind, Stage, TrainStage},
};

/// Rows of a corpus that are looked at before it is read, and go into its digest.
const LOOKED_AT: usize = 16;
/// What is read of an earlier tokenizer, and of an earlier model or codebook.
const TOKENIZER_FILES: [&str; 4] = [
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];
const MODEL_FILES: [&str; 3] = ["config.json", "model.safetensors", "pytorch_model.bin"];
/// Folder of the result.
const MODEL: &str = "model";
/// Folder of the model that it is compared with.
const UNTRAINED: &str = "untrained";
/// Folders that are no stage's.
pub(crate) const OWN_FOLDERS: [&str; 2] = [MODEL, UNTRAINED];

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
    /// Which part of the data is this process's.
    pub rank: Rank,
    /// Where models are looked for.
    pub places: Places,
    /// Whether no socket is opened.
    pub offline: bool,
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
    /// Of the contents of corpora, by name.
    digests: Mutex<BTreeMap<String, String>>,
    made: Made,
    peak: f64,
}

/// Runs the job's stages; the folder of the last model.
pub fn run(job: &Job) -> Result<Option<PathBuf>> {
    fs::create_dir_all(&job.out).map_err(|e| flava_model::Error::io(&job.out, e))?;
    let _lock = lock_folder(&job.out)?;
    let steps = job.stages().map(|(_, stage)| stage.steps()).sum();
    let mut progress = Progress::new(steps, "steps", job.quiet);
    let log = job.out.join("run.log");
    progress
        .log_to(&log)
        .map_err(|e| flava_model::Error::io(&log, e))?;
    flava_base::write_atomic(
        &job.out.join("recipe.toml"),
        job.recipe.to_toml()?.as_bytes(),
    )?;
    let mut run = Run {
        job,
        progress,
        corpora: Mutex::default(),
        digests: Mutex::default(),
        made: Made::default(),
        peak: peak_flops(job.device, job.precision)?,
    };
    run.check_sources()?;
    let mut last = None;
    let mut reached = 0;
    for (name, stage) in job.stages() {
        run.progress.reach(reached);
        last = run.stage(name, stage)?.or(last);
        reached += stage.steps();
    }
    if job.until.is_none() {
        last = last.map(|folder| run.finish(&folder)).transpose()?;
    }
    run.progress.finish();
    Ok(last)
}

/// The corpora that a stage reads, and what it reads of their rows.
fn roles_of(stage: &Stage) -> Vec<(&str, RowKind)> {
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
pub(crate) fn corpora_of(stage: &Stage) -> impl Iterator<Item = &str> {
    roles_of(stage).into_iter().map(|(corpus, _)| corpus)
}

impl Job {
    /// The stages that are run, in order.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (&str, &Stage)> {
        let mut reached = false;
        self.recipe.stages().take_while(move |(name, _)| {
            !std::mem::replace(&mut reached, self.until.as_deref() == Some(*name))
        })
    }

    /// The measurement of a folder's model, with records in `out`.
    fn evaluation(
        &self,
        evaluate: &Evaluate,
        (folder, out): (&Path, PathBuf),
        offline: bool,
    ) -> Result<Plan> {
        let data = evaluate.data.as_ref().map(|data| self.data.join(data));
        let how = (Places::new(data, offline, self.quiet)?, self.settings());
        Ok(Plan::of_checkpoint(folder, &evaluate.tasks, out, how)?)
    }

    /// Whether the data that models in training are measured on is there, or can be fetched.
    pub(crate) fn check_evaluation(&self, evaluate: &Evaluate, offline: bool) -> Result<()> {
        Ok(self
            .evaluation(evaluate, (Path::new(MODEL), PathBuf::new()), offline)?
            .check_data()?)
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
    /// Opens every corpus and finds every earlier model before the first step, so that what is
    /// missing is missed now.
    fn check_sources(&self) -> Result<()> {
        let check = |stage: &Stage| {
            roles_of(stage)
                .into_iter()
                .try_for_each(|(corpus, rows)| self.check_rows(corpus, rows))?;
            match stage {
                Stage::Tokenizer(stage) if !stage.from.is_empty() => {
                    self.earlier_tokenizer(&stage.from).map(drop)
                }
                Stage::Codebook(stage) if !stage.from.is_empty() => self
                    .earlier_codebook(&stage.from, &self.config()?)
                    .map(drop),
                Stage::Train(stage) => self.check_train_sources(stage),
                _ => Ok(()),
            }
        };
        let mut stages = self.job.stages();
        stages.try_for_each(|(name, stage)| {
            check(stage).map_err(|e| Error::Input(format!("stage.{name}: {e}")))
        })
    }

    /// Whether the models that a stage takes parts of, and the data that it is measured on, are
    /// there.
    fn check_train_sources(&self, stage: &TrainStage) -> Result<()> {
        let stages = &self.job.recipe.stage;
        for Init { from, parts } in stage
            .init
            .iter()
            .filter(|init| !stages.contains_key(&init.from))
        {
            let near = did_you_mean(from, stages.keys(), 1);
            self.check_earlier(from, parts)
                .map_err(|e| Error::Input(format!("init: {e}{near}")))?;
        }
        let Some(evaluate) = &stage.evaluate else {
            return Ok(());
        };
        let ways = "give a folder with the data as evaluate.data, name other tasks, or set evaluate = \"none\"";
        self.job
            .check_evaluation(evaluate, self.job.offline)
            .map_err(|e| Error::Input(format!("evaluate: {e}; {ways}")))
    }

    /// Whether some rows of a corpus, spread over it, have what a stage reads of them.
    fn check_rows(&self, name: &str, rows: RowKind) -> Result<()> {
        let dataset = self.corpus(name)?;
        let looked_at = spread(dataset.len());
        let mut first = None;
        for row in looked_at.clone() {
            let (picture, texts) = if rows == RowKind::Texts {
                (true, dataset.texts_of(row))
            } else {
                let example = dataset.get(row);
                let picture = example
                    .as_ref()
                    .is_ok_and(|example| example.image.is_some());
                (picture, example.map(|example| example.texts))
            };
            match texts {
                Ok(texts)
                    if picture
                        && (rows == RowKind::Images
                            || texts.iter().any(|text| !text.trim().is_empty())) =>
                {
                    return Ok(());
                }
                Ok(_) => drop(first.get_or_insert(format!("{} has none", dataset.id(row)))),
                Err(error) => drop(first.get_or_insert(error.to_string())),
            }
        }
        let wanted = match rows {
            RowKind::Images => "a picture",
            RowKind::Texts => "a text",
            RowKind::Pairs => "a picture with a text",
        };
        let (count, first) = (looked_at.count(), first.unwrap_or_default());
        Err(Error::Input(format!(
            "none of {count} rows of the corpus {name} that were looked at is {wanted}; the first: {first}"
        )))
    }

    /// The folder of a model that no stage makes, with those of `files` that it has.
    fn earlier(&self, from: &str, files: &[&str]) -> Result<PathBuf> {
        Ok(self.job.places.part_of_model(from, files)?)
    }

    fn corpus(&self, name: &str) -> Result<Arc<dyn Dataset>> {
        let mut corpora = self
            .corpora
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = corpora.get(name) {
            return Ok(Arc::clone(known));
        }
        let corpus = self
            .job
            .recipe
            .corpora
            .get(name)
            .ok_or_else(|| Error::Input(format!("there is no corpus {name}")))?;
        // The world stays the same for all seeds of a run; what is drawn from it does not.
        let dataset = corpus.open(&self.job.data, 0)?;
        for note in dataset.notes() {
            self.progress.say(&format!("note: {note}"));
        }
        corpora.insert(name.to_owned(), Arc::clone(&dataset));
        Ok(dataset)
    }

    /// A digest of all that a corpus holds.
    fn digest(&self, name: &str) -> Result<String> {
        let mut digests = self
            .digests
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = digests.get(name) {
            return Ok(known.clone());
        }
        let corpus = self
            .job
            .recipe
            .corpora
            .get(name)
            .ok_or_else(|| Error::Input(format!("there is no corpus {name}")))?;
        let digest = corpus.digest(&self.job.data, &DigestIndex::of_user())?;
        digests.insert(name.to_owned(), digest.clone());
        Ok(digest)
    }

    /// Batches of a corpus.
    fn draws(&self, name: &str, batch_size: usize) -> Result<Draws> {
        let dataset = self.corpus(name)?;
        let order = Order::new(
            name,
            dataset.len(),
            self.job.recipe.shuffle_buffer,
            self.job.seed,
        );
        Ok(Draws {
            name: name.to_owned(),
            dataset,
            order,
            rank: self.job.rank,
            batch_size,
        })
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.job.out.join(name)
    }

    /// Runs a stage, or takes what it made before; the folder of its model, if it makes one.
    fn stage(&mut self, name: &str, stage: &Stage) -> Result<Option<PathBuf>> {
        interrupted()?;
        let settings = self.settings(name, stage)?;
        let key = hex(&Sha256::digest(settings.to_string())[..12]);
        self.note_settings(name, &settings)?;
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

    /// Everything that decides what a stage makes, and nothing else: what only decides what is kept
    /// of it may change.
    fn settings(&self, name: &str, stage: &Stage) -> Result<Value> {
        let mut corpora = BTreeMap::new();
        for corpus in corpora_of(stage) {
            corpora.insert(corpus, self.digest(corpus)?);
        }
        let earlier: Vec<&String> = match stage {
            Stage::Tokenizer(_) | Stage::Codebook(_) => Vec::new(),
            Stage::Dino(_) => self.of_kinds(&["tokenizer", "codebook"]),
            Stage::Train(stage) => {
                let from = stage
                    .init
                    .iter()
                    .filter_map(|init| self.made.keys.get(&init.from));
                self.of_kinds(&["tokenizer", "codebook"])
                    .into_iter()
                    .chain(from)
                    .collect()
            }
        };
        let recipe = &self.job.recipe;
        let mut stage = json!(stage);
        for table in ["", "/schedule"] {
            let Some(table) = stage.pointer_mut(table).and_then(Value::as_object_mut) else {
                continue;
            };
            table.retain(|key, _| {
                !["save_every", "keep", "max_broken", "evaluate"].contains(&key.as_str())
            });
        }
        if corpora.is_empty() || stage["kind"] == "tokenizer" {
            let sizes = recipe
                .model
                .get("image_codebook_config")
                .filter(|_| stage["kind"] == "codebook");
            return Ok(json!({ "stage": stage, "corpora": corpora, "model": sizes }));
        }
        Ok(json!({
            "stage": stage, "model": recipe.model, "image_masks": recipe.image_masks, "shuffle_buffer": recipe.shuffle_buffer,
            "corpora": corpora, "earlier": earlier, "seed": self.job.seed, "precision": self.job.precision.name(),
            "cuda": self.job.device.is_cuda(), "rank": [self.job.rank.rank, self.job.rank.world], "name": name,
        }))
    }

    /// Writes down what decides a stage, or says what of it is other than when the stage was begun.
    fn note_settings(&self, name: &str, settings: &Value) -> Result<()> {
        let folder = self.folder(name);
        let path = folder.join("settings.json");
        let begun = folder.join("last").exists() || folder.join("key").exists();
        let before: Option<Value> = if begun && path.exists() {
            Some(flava_base::read_json(&path, flava_base::MAX_SETTINGS)?)
        } else {
            None
        };
        if let Some(before) = before.filter(|before| before != settings) {
            let mut different = Vec::new();
            differences("", &before, settings, &mut different);
            let (folder, different) = (folder.display(), different.join("; "));
            return Err(Error::Input(format!(
                "{folder}: was made by other settings ({different}); choose another --out, or remove it"
            )));
        }
        fs::create_dir_all(&folder).map_err(|e| flava_model::Error::io(&folder, e))?;
        Ok(flava_base::write_atomic(
            &path,
            format!("{settings:#}\n").as_bytes(),
        )?)
    }

    fn of_kinds(&self, kinds: &[&str]) -> Vec<&String> {
        let stages = self
            .job
            .recipe
            .stages()
            .filter(|(_, stage)| kinds.contains(&stage.kind()));
        stages
            .filter_map(|(name, _)| self.made.keys.get(name))
            .collect()
    }

    /// Measures a model by `flava-eval`'s tasks; the main metric of the one that states are chosen
    /// by.
    fn measure(
        &self,
        stage: &str,
        folder: &Path,
        evaluate: &Evaluate,
        (step, log): (usize, &mut Log),
    ) -> Result<Option<f64>> {
        let out = self
            .job
            .out
            .join(stage)
            .join("evaluations")
            .join(format!("step-{step}"));
        let outcome = flava_evaluator::run(&self.job.evaluation(
            evaluate,
            (folder, out),
            self.job.offline,
        )?)?;
        if outcome.interrupted {
            return Err(Error::Interrupted);
        }
        for (task, error) in &outcome.failures {
            self.progress
                .say(&format!("{stage}, step {step}: {task} failed: {error}"));
        }
        let scores: Vec<(String, f64)> = outcome
            .records
            .iter()
            .map(|record| (record.task.clone(), record.main().value))
            .collect();
        let named: Vec<(&str, f64)> = scores
            .iter()
            .map(|(task, score)| (task.as_str(), *score))
            .collect();
        log.note("evaluation", step, &named)?;
        let line: Vec<String> = scores
            .iter()
            .map(|(task, score)| format!("{task} {score:.3}"))
            .collect();
        if !line.is_empty() {
            self.progress
                .say(&format!("{stage}, step {step}: {}", line.join(", ")));
        }
        let best_by = evaluate.task_of_best().map_err(Error::Input)?;
        Ok(scores
            .iter()
            .find(|(task, _)| *task == best_by)
            .map(|(_, score)| *score))
    }

    /// Writes the last model without what training needs, in the kind that the recipe asks for.
    fn finish(&self, folder: &Path) -> Result<PathBuf> {
        let out = self.job.out.join(MODEL);
        let config = FlavaConfig::from_file(&folder.join("config.json"))?;
        let checkpoint = Checkpoint::open(folder)?;
        let kind = if self.job.recipe.final_weights == FinalWeights::F16 {
            Kind::Half
        } else {
            Kind::Float
        };
        let tensors = checkpoint.tensors().iter();
        let tensors = tensors
            .map(|(name, tensor)| Ok((name.clone(), tensor.to_tensor()?.f_to_kind(kind)?)))
            .collect::<Result<Vec<(String, Tensor)>>>()?;
        let processor = self.job.recipe.processor(&config);
        write_directory(
            &out,
            Architecture::FlavaForPreTraining,
            &config,
            tensors,
            &processor,
            &*self.text()?,
        )?;
        flava_base::write_atomic(
            &out.join("recipe.toml"),
            self.job.recipe.to_toml()?.as_bytes(),
        )?;
        Ok(out)
    }
}

/// Writes a model of a recipe's sizes with seeded weights, over the tokenizer of its stage, into
/// the folder `untrained`.
pub fn init(job: &Job) -> Result<PathBuf> {
    fs::create_dir_all(&job.out).map_err(|e| flava_model::Error::io(&job.out, e))?;
    let _lock = lock_folder(&job.out)?;
    let mut run = Run {
        job,
        progress: Progress::new(0, "steps", job.quiet),
        corpora: Mutex::default(),
        digests: Mutex::default(),
        made: Made::default(),
        peak: 0.0,
    };
    let names: Vec<(String, Stage)> = job
        .recipe
        .stages()
        .map(|(name, stage)| (name.to_owned(), stage.clone()))
        .collect();
    for (name, stage) in names
        .iter()
        .filter(|(_, stage)| matches!(stage, Stage::Tokenizer(_)))
    {
        run.stage(name, stage)?;
    }
    let config = run.config()?;
    let (model, store) = run.model(config)?;
    let out = job.out.join(UNTRAINED);
    let processor = job.recipe.processor(&model.config);
    write_directory(
        &out,
        Architecture::FlavaForPreTraining,
        &model.config,
        store.variables(),
        &processor,
        &*run.text()?,
    )?;
    Ok(out)
}

/// What is other now than it was, with its path.
fn differences(path: &str, before: &Value, now: &Value, found: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
            for name in names {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let of = |table: &serde_json::Map<String, Value>| {
                    table.get(name).cloned().unwrap_or_default()
                };
                differences(&below, &of(before), &of(now), found);
            }
        }
        _ if before != now => found.push(format!("{path} was {before}, is {now}")),
        _ => {}
    }
}

/// Whether a stage that is not trained step by step is done; an error where it was done otherwise.
fn is_done(folder: &Path, key: &str) -> Result<bool> {
    let path = folder.join("key");
    match fs::read_to_string(&path) {
        Ok(before) if before.trim() == key => Ok(true),
        Ok(_) => {
            let reason = "was made by other settings or from other corpora; choose another --out, or remove it";
            Err(Error::Input(format!("{}: {reason}", folder.display())))
        }
        Err(_) => Ok(false),
    }
}

/// Some of so many rows, spread over them.
fn spread(rows: usize) -> impl Iterator<Item = usize> + Clone {
    let pieces = LOOKED_AT.min(rows);
    (0..pieces).map(move |piece| piece * rows / pieces)
}
