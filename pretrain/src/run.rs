//! Runs a recipe: its stages in order, each in a folder of its own, each gone on from where it was left.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use clap::Parser;
use flava_evaluator::{Places, Plan, args::EvalArgs};
use flava_model::{
    AttentionKind, FlavaConfig, ImageCodebook,
    checkpoint::{Architecture, Checkpoint, write_directory},
    processor::{PassOrder, TextProcessor},
    runtime::{Fill, LoaderOptions, Precision, Progress, Vars, training::Log},
};
use flava_tasks::Dataset;
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor, nn::VarStore};

use crate::{
    Error, FlavaForPreTraining, OnEmpty, Result,
    codebook::{CodebookTraining, load_exactly, read_codebook, write_codebook},
    dino::Dino,
    interrupted,
    masking::BlockMasks,
    mixture::Mixture,
    order::{Order, Rank},
    recipe::{CodebookStage, DinoStage, Evaluate, FinalWeights, Init, Part, Recipe, RowKind, Share, Stage, TokenizerStage, TrainStage},
    rows::{Preparation, Reader},
    train::Train,
    trainer::{State, Trainer, last_state, peak_of},
    visual_words::VisualWords,
};

/// Rows whose contents go into a corpus's digest.
const FINGERPRINT_ROWS: usize = 16;
/// Visual words of a corpus that are counted for the log.
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
    let steps = job.recipe.stages().map(|(_, stage)| stage.steps()).sum();
    let mut progress = Progress::new(steps, "steps", job.quiet);
    let log = job.out.join("run.log");
    progress.log_to(&log).map_err(|e| flava_model::Error::io(&log, e))?;
    let text = toml::to_string(&job.recipe).map_err(|e| Error::Input(e.to_string()))?;
    write(&job.out.join("recipe.toml"), &text)?;
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

fn write(path: &Path, text: &str) -> Result<()> {
    let part = path.with_extension("part");
    Ok(fs::write(&part, text).and_then(|()| fs::rename(&part, path)).map_err(|e| flava_model::Error::io(path, e))?)
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

    fn order(&self, name: &str, rows: usize) -> Order {
        Order::new(name, rows, self.job.recipe.shuffle_buffer, self.job.seed)
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
            corpora.insert(corpus, fingerprint(&*self.corpus(corpus)?)?);
        }
        let earlier: Vec<&String> = match stage {
            Stage::Tokenizer(_) => Vec::new(),
            Stage::Codebook(_) => Vec::new(),
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

    /// Whether a stage that is not trained step by step is done; an error where it was done otherwise.
    fn is_done(&self, folder: &Path, key: &str) -> Result<bool> {
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

    fn tokenizer(&mut self, name: &str, stage: &TokenizerStage, key: &str) -> Result<()> {
        let folder = self.folder(name);
        if !self.is_done(&folder, key)? {
            let text = if stage.from.is_empty() {
                self.learn_tokenizer(name, stage)?
            } else {
                const FILES: [&str; 4] = ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"];
                TextProcessor::from_directory(&self.job.places.part_of_model(&stage.from, &FILES)?)?
            };
            fs::create_dir_all(&folder).map_err(|e| flava_model::Error::io(&folder, e))?;
            for (file, contents) in text.files()? {
                write(&folder.join(file), &contents)?;
            }
            write(&folder.join("key"), key)?;
            self.progress.say(&format!("{name}: {} word pieces", text.vocab_size()));
        }
        self.made.text = Some(Arc::new(TextProcessor::from_directory(&folder)?));
        Ok(())
    }

    fn learn_tokenizer(&self, name: &str, stage: &TokenizerStage) -> Result<TextProcessor> {
        let mut corpora = Vec::new();
        for corpus in &stage.corpora {
            corpora.push(self.corpus(corpus)?);
        }
        let most = |dataset: &Arc<dyn Dataset>| if stage.max_texts == 0 { dataset.len() } else { stage.max_texts.min(dataset.len()) };
        let bar = Mutex::new(self.progress.task(name, 2 * corpora.iter().map(most).sum::<usize>()));
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let texts = || {
            let rows = corpora.iter().flat_map(|dataset| (0..most(dataset)).map(move |row| (dataset, row)));
            rows.map_while(|(dataset, row)| {
                let texts = interrupted().and_then(|()| Ok(dataset.texts_of(row)?));
                bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(1);
                texts.map_err(|e| *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(e)).ok()
            })
            .flatten()
        };
        let learned = TextProcessor::train(texts, stage.vocab_size, stage.min_frequency)?;
        match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(learned),
        }
    }

    /// The configuration that all models of this run have.
    fn config(&self) -> Result<FlavaConfig> {
        let words = self.made.text.as_ref().map_or(0, |text| text.vocab_size());
        self.job.recipe.config(words)
    }

    fn codebook(&mut self, name: &str, stage: &CodebookStage, key: &str) -> Result<()> {
        let config = self.config()?;
        let folder = self.folder(name);
        if !stage.from.is_empty() {
            if !self.is_done(&folder, key)? {
                let from = self.job.places.part_of_model(&stage.from, &["config.json", "model.safetensors", "pytorch_model.bin"])?;
                let store = VarStore::new(Device::Cpu);
                let vars = Vars::root(&store, Fill::Unset) / "image_codebook";
                let _codebook = ImageCodebook::new(&vars, &config.image_codebook_config);
                let named = read_codebook(&from)?.into_iter().map(|(name, tensor)| (format!("image_codebook.{name}"), tensor));
                load_exactly(&store, named, &from)?;
                let last = folder.join("last");
                fs::create_dir_all(&last).map_err(|e| flava_model::Error::io(&last, e))?;
                write_codebook(&last, &config.image_codebook_config, store.variables())?;
                write(&folder.join("key"), key)?;
            }
            self.made.codebook = Some(folder.join("last"));
            return Ok(());
        }
        let dataset = self.corpus(&stage.corpus)?;
        let order = self.order(&stage.corpus, dataset.len());
        let transform = self.job.recipe.processor(&config).codebook_transform(PassOrder::default());
        let make = || {
            let (dataset, order) =
                (Arc::clone(&dataset), Order::new(&stage.corpus, order.rows(), self.job.recipe.shuffle_buffer, self.job.seed));
            CodebookTraining::new(&config, stage, (dataset, order), transform.clone(), (self.job.seed, self.job.device, self.job.loader))
        };
        if !self.is_trained(&folder, key, stage.schedule.steps)? {
            self.trainer(name, &folder, &stage.schedule, key, None).run(make())?;
        }
        let last = folder.join("last");
        if !folder.join("reconstruction.json").exists() {
            let mut trained = make();
            crate::trainer::Learner::load(&mut trained, &last)?;
            let found = trained.report(&folder)?;
            self.progress.say(&format!(
                "{name}: squared error {:.4} ({:.4} of the mean colour), {:.0} % of the words used, perplexity {:.0}",
                found.squared_error,
                found.squared_error_of_mean,
                found.usage * 100.0,
                found.perplexity
            ));
        }
        self.made.codebook = Some(last);
        Ok(())
    }

    fn is_trained(&self, folder: &Path, key: &str, steps: usize) -> Result<bool> {
        Ok(last_state(folder)?.is_some_and(|(_, state)| state.key == key && state.step >= steps))
    }

    fn trainer<'b>(
        &'b self,
        name: &'b str,
        folder: &'b Path,
        schedule: &'b crate::recipe::TrainingSchedule,
        key: &str,
        evaluate: Option<(&'b Evaluate, &'b crate::trainer::Measure<'b>)>,
    ) -> Trainer<'b> {
        Trainer {
            name,
            folder,
            schedule,
            seed: self.job.seed,
            key: key.to_owned(),
            precision: self.job.precision,
            progress: &self.progress,
            evaluate,
            peak: self.peak,
        }
    }

    fn text(&self) -> Result<Arc<TextProcessor>> {
        self.made.text.clone().ok_or_else(|| Error::Input("no stage before this one makes a tokenizer".into()))
    }

    /// A new model of the recipe's sizes, with the codebook that was made, and its variables.
    fn model(&self, mut config: FlavaConfig) -> Result<(FlavaForPreTraining, VarStore)> {
        config.init_codebook = self.made.codebook.is_some();
        let mut store = VarStore::new(Device::Cpu);
        tch::manual_seed(self.job.seed as i64);
        let fill = Fill::New(config.initializer_range);
        let mut model = FlavaForPreTraining::new(&store, fill, config, AttentionKind::Fused, OnEmpty::Skip);
        if let Some(folder) = &self.made.codebook {
            let variables = store.variables();
            for (name, tensor) in read_codebook(folder)? {
                let name = format!("image_codebook.{name}");
                let mut variable =
                    variables.get(&name).ok_or_else(|| Error::Input(format!("{name} is not the codebook's")))?.shallow_clone();
                if variable.size() != tensor.size() {
                    let (have, want) = (tensor.size(), variable.size());
                    return Err(Error::Input(format!("{}: {name} is {have:?}, the recipe's model has {want:?}", folder.display())));
                }
                tch::no_grad(|| variable.copy_(&tensor));
            }
        }
        store.set_device(self.job.device);
        model.flava.set_train(true);
        model.flava.set_recompute(self.job.recompute);
        Ok((model, store))
    }

    /// Takes parts of earlier models over.
    fn init(&self, store: &VarStore, init: &[Init]) -> Result<()> {
        for Init { from, parts } in init {
            let folder = match self.made.models.get(from) {
                Some(folder) => folder.clone(),
                None => self.job.places.part_of_model(from, &["config.json", "model.safetensors", "pytorch_model.bin"])?,
            };
            let checkpoint = Checkpoint::open(&folder)?;
            let mut variables = store.variables();
            for part in parts {
                let prefix = part.prefix();
                let names: Vec<String> = variables.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
                for name in names {
                    let found = checkpoint.tensors().get(&name);
                    let Some(tensor) = found.filter(|tensor| variables[&name].size() == tensor.size()) else {
                        let size = found.map_or("missing".to_owned(), |tensor| format!("{:?}", tensor.size()));
                        if *part == Part::All && name.starts_with("image_codebook.") {
                            continue;
                        }
                        return Err(Error::Input(format!(
                            "{}: {name} is {size}, the recipe's model has {:?}",
                            folder.display(),
                            variables[&name].size()
                        )));
                    };
                    let value = tensor.to_tensor()?.f_to_kind(Kind::Float)?;
                    if let Some(variable) = variables.get_mut(&name) {
                        tch::no_grad(|| variable.copy_(&value));
                    }
                }
            }
        }
        Ok(())
    }

    fn dino(&mut self, name: &str, stage: &DinoStage, key: &str) -> Result<PathBuf> {
        let folder = self.folder(name);
        let last = folder.join("last");
        if self.is_trained(&folder, key, stage.schedule.steps)? {
            return Ok(last);
        }
        let config = self.config()?;
        let processor = self.job.recipe.processor(&config);
        let dataset = self.corpus(&stage.corpus)?;
        let order = self.order(&stage.corpus, dataset.len());
        let learner = Dino::new(
            self.model(config)?,
            stage,
            (dataset, order),
            (processor, self.text()?, PassOrder::default()),
            (self.job.seed, self.job.precision, self.job.loader),
        )?;
        self.trainer(name, &folder, &stage.schedule, key, None).run(learner)?;
        Ok(last)
    }

    fn train(&mut self, name: &str, stage: &TrainStage, key: &str) -> Result<PathBuf> {
        let folder = self.folder(name);
        let chosen = |state: &State| if state.best.is_some() { folder.join("best") } else { folder.join("last") };
        if let Some((_, state)) = last_state(&folder)?.filter(|(_, state)| state.key == key && state.step >= stage.schedule.steps) {
            return Ok(chosen(&state));
        }
        let learner = self.learner(stage)?;
        self.init(&learner.store, &stage.init)?;
        let measure = |folder: &Path, step: usize, log: &mut Log| match &stage.evaluate {
            Some(evaluate) => self.measure(name, folder, evaluate, (step, log)),
            None => Ok(None),
        };
        let evaluate = stage.evaluate.as_ref().map(|evaluate| (evaluate, &measure as &crate::trainer::Measure));
        let state = self.trainer(name, &folder, &stage.schedule, key, evaluate).run(learner)?;
        Ok(chosen(&state))
    }

    /// Everything that a stage of joint training works on.
    fn learner(&self, stage: &TrainStage) -> Result<Train> {
        let mut config = self.config()?;
        let weights = &stage.weights;
        (config.mim_weight, config.mlm_weight, config.itm_weight) = (weights.mim, weights.mlm, weights.itm);
        (config.mmm_image_weight, config.mmm_text_weight) = (weights.mmm_image, weights.mmm_text);
        config.global_contrastive_weight = weights.global_contrastive;
        let rate = stage.dropout;
        (config.image_config.hidden_dropout_prob, config.image_config.attention_probs_dropout_prob) = (rate, rate);
        (config.text_config.hidden_dropout_prob, config.text_config.attention_probs_dropout_prob) = (rate, rate);
        (config.multimodal_config.hidden_dropout_prob, config.multimodal_config.attention_probs_dropout_prob) = (rate, rate);
        let processor = self.job.recipe.processor(&config);
        let text = self.text()?;
        let (model, store) = self.model(config)?;
        let preparation = Preparation {
            transform: processor.transform(PassOrder::default()),
            codebook: processor.codebook_transform(PassOrder::default()),
            crop: stage.crop,
            masks: BlockMasks::new(&processor),
            text: Arc::clone(&text),
            words: [(stage.text_masks, stage.text_length), (stage.caption_masks, stage.caption_length)],
            negatives: stage.negatives,
            ignore: model.config.ce_ignore_index,
            seed: self.job.seed,
        };
        let mut readers = Vec::new();
        for share in &stage.mixture {
            readers.push(self.reader(share, stage, (&model, &preparation))?);
        }
        let ratios: Vec<f64> = stage.mixture.iter().map(|share| share.ratio).collect();
        Ok(Train {
            mixture: Arc::new(Mixture::new(&ratios, stage.schedule.steps, self.job.seed)),
            model,
            store,
            processor,
            text,
            readers: Arc::new(readers),
            preparation: Arc::new(preparation),
            loader: self.job.loader,
            micro_batch: self.job.micro_batch,
            contrastive_share: stage.contrastive_share,
            precision: self.job.precision,
        })
    }

    fn reader(&self, share: &Share, stage: &TrainStage, (model, preparation): (&FlavaForPreTraining, &Preparation)) -> Result<Reader> {
        let dataset = self.corpus(&share.corpus)?;
        let weights = &stage.weights;
        let labelled = match share.rows {
            RowKind::Images => weights.mim > 0.0,
            RowKind::Pairs => weights.mmm_image > 0.0,
            RowKind::Texts => false,
        };
        let visual_words = if labelled && stage.crop.is_none() && share.ratio > 0.0 {
            let codebook = model.codebook()?;
            let digest = fingerprint(&*dataset)? + &self.of_kinds(&["codebook"]).into_iter().cloned().collect::<String>();
            let file = self.job.out.join(format!("visual-words-{}-{}.bin", share.corpus, hex(&Sha256::digest(digest)[..6])));
            let patches = model.config.image_config.grid().pow(2) as usize;
            let how = (&preparation.codebook, self.job.loader, self.job.device);
            Some(Arc::new(VisualWords::open(&file, &dataset, (codebook, patches), how, &self.progress)?))
        } else {
            if labelled {
                model.codebook()?;
            }
            None
        };
        Ok(Reader {
            name: share.corpus.clone(),
            order: self.order(&share.corpus, dataset.len()),
            dataset,
            kind: share.rows,
            batch_size: share.batch_size.unwrap_or(stage.schedule.batch_size),
            rank: self.job.rank,
            visual_words,
        })
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
        let text = toml::to_string(&self.job.recipe).map_err(|e| Error::Input(e.to_string()))?;
        write(&out.join("recipe.toml"), &text)?;
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

/// A digest of a corpus: its length, and ids and texts spread over it.
fn fingerprint(dataset: &dyn Dataset) -> Result<String> {
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
    Ok(hex(&digest.finalize()[..8]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
