//! The stages that train encoders: models with what earlier stages made, their data, and the
//! trainer over both.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use flava_base::hex;
use flava_model::{
    AttentionKind, FlavaConfig,
    checkpoint::{Checkpoint, CheckpointTensor, load_exactly},
    processor::{PassOrder, TextProcessor},
    runtime::Fill,
};
use flava_training::{
    Candidate, Evaluation, Learner, Log, Trained, Trainer, TrainingState, last_state,
};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{MODEL_FILES, Run};
use crate::{
    Error, FlavaForPreTraining, OnEmpty, Result,
    codebook::{CODEBOOK, read_codebook},
    dino::Dino,
    joint::{JointTraining, Mixture, PatchLabels, Preparation, Reader, VisualWords},
    recipe::{DinoStage, Init, Part, Share, TrainStage, TrainingSchedule},
};

/// What the names of an encoder's layers have in them.
const LAYERS: &str = ".encoder.layer.";
/// The table of word pieces.
const WORDS: &str = "flava.text_model.embeddings.word_embeddings.weight";

/// The result of a training that is not measured, if all its steps were made.
pub(super) fn result_of(
    folder: &Path,
    key: &str,
    schedule: &TrainingSchedule,
) -> Result<Option<PathBuf>> {
    let done = |state: &TrainingState| state.is_done(key, schedule.steps, None);
    let result = folder.join(if schedule.ema > 0.0 { "best" } else { "last" });
    Ok(last_state(folder)?
        .filter(|(_, state)| done(state))
        .map(|_| result))
}

impl Run<'_> {
    /// Trains a stage to its end, or goes on where that was left.
    pub(super) fn trained<L: Learner<Error = Error>>(
        &self,
        name: &str,
        schedule: &TrainingSchedule,
        key: &str,
        learner: L,
        evaluation: Option<Evaluation<L>>,
    ) -> Result<Trained> {
        let trainer = Trainer {
            name,
            folder: &self.folder(name),
            config: schedule.config(),
            seed: self.job.seed,
            key,
            precision: self.job.precision,
            micro_batch: self.job.micro_batch,
            progress: &self.progress,
            evaluation,
            peak_flops: self.peak,
        };
        trainer.run(learner)
    }

    pub(super) fn text(&self) -> Result<Arc<TextProcessor>> {
        self.made
            .text
            .clone()
            .ok_or_else(|| Error::Input("no stage before this one makes a tokenizer".into()))
    }

    /// A new model of the recipe's sizes, with the codebook that was made, and its variables.
    pub(super) fn model(&self, mut config: FlavaConfig) -> Result<(FlavaForPreTraining, VarStore)> {
        config.init_codebook = self.made.codebook.is_some();
        let mut store = VarStore::new(Device::Cpu);
        tch::manual_seed(self.job.seed as i64);
        let fill = Fill::New(config.initializer_range);
        let mut model =
            FlavaForPreTraining::new(&store, fill, config, AttentionKind::Fused, OnEmpty::Skip);
        if let Some(folder) = &self.made.codebook {
            let variables = store
                .variables()
                .into_iter()
                .filter(|(name, _)| name.starts_with(CODEBOOK));
            load_exactly(variables, read_codebook(folder)?, folder)?;
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
                None => self.earlier(from, &MODEL_FILES)?,
            };
            let checkpoint = Checkpoint::open(&folder)?;
            for (mut variable, tensor) in taken(&checkpoint, store, parts)? {
                let value = tensor.to_tensor()?.f_to_kind(Kind::Float)?;
                tch::no_grad(|| variable.copy_(&value));
            }
        }
        Ok(())
    }

    /// Whether an earlier model has the parts that are taken of it. Its vocabulary is taken to be
    /// the tokenizer's, which may not be made yet.
    pub(super) fn check_earlier(&self, from: &str, parts: &[Part]) -> Result<()> {
        let checkpoint = Checkpoint::open(&self.earlier(from, &MODEL_FILES)?)?;
        let words = checkpoint
            .tensors()
            .get(WORDS)
            .and_then(|table| table.size().first())
            .map_or(0, |words| *words as usize);
        let mut config = self.job.recipe.config(words)?;
        config.init_codebook = false;
        let store = VarStore::new(Device::Cpu);
        let _model = FlavaForPreTraining::new(
            &store,
            Fill::Unset,
            config,
            AttentionKind::Fused,
            OnEmpty::Skip,
        );
        taken(&checkpoint, &store, parts).map(drop)
    }

    pub(super) fn dino(&mut self, name: &str, stage: &DinoStage, key: &str) -> Result<PathBuf> {
        let folder = self.folder(name);
        if let Some(result) = result_of(&folder, key, &stage.schedule)? {
            return Ok(result);
        }
        let config = self.config()?;
        let processor = self.job.recipe.processor(&config);
        let learner = Dino::new(
            self.model(config)?,
            stage,
            self.draws(&stage.corpus, stage.schedule.batch_size)?,
            (processor, self.text()?, PassOrder::default()),
            (self.job.seed, self.job.threads),
            (self.job.precision, self.job.recompute),
        )?;
        let trained = self.trained(name, &stage.schedule, key, learner, None)?;
        Ok(trained.folder)
    }

    pub(super) fn train(&mut self, name: &str, stage: &TrainStage, key: &str) -> Result<PathBuf> {
        let folder = self.folder(name);
        let evaluate = stage.evaluate.as_ref();
        let best_by = evaluate.map(|evaluate| evaluate.best_by.as_str());
        if let Some((_, state)) = last_state(&folder)?
            && state.is_done(key, stage.schedule.steps, best_by)
        {
            let is_chosen = best_by.is_some() && state.best.is_some();
            return Ok(folder.join(if is_chosen || stage.schedule.ema > 0.0 {
                "best"
            } else {
                "last"
            }));
        }
        let learner = self.learner(stage)?;
        self.init(&learner.store, &stage.init)?;
        let measure = |learner: &mut JointTraining, candidate: &Candidate, log: &mut Log| {
            let Some(evaluate) = evaluate else {
                return Ok(None);
            };
            let folder = candidate.folder(learner)?;
            self.measure(name, &folder, evaluate, (candidate.step, log))
        };
        let evaluation = evaluate.map(|evaluate| Evaluation {
            every: evaluate.every,
            patience: evaluate.patience,
            best_by: &evaluate.best_by,
            evaluate: &measure,
        });
        let trained = self.trained(name, &stage.schedule, key, learner, evaluation)?;
        Ok(trained.folder)
    }

    /// Everything that a stage of joint training works on.
    fn learner(&self, stage: &TrainStage) -> Result<JointTraining> {
        let mut config = self.config()?;
        let weights = &stage.weights;
        (config.mim_weight, config.mlm_weight, config.itm_weight) =
            (weights.mim, weights.mlm, weights.itm);
        (config.mmm_image_weight, config.mmm_text_weight) = (weights.mmm_image, weights.mmm_text);
        config.global_contrastive_weight = weights.global_contrastive;
        config.set_dropout(stage.dropout);
        let processor = self.job.recipe.processor(&config);
        let text = self.text()?;
        let (model, store) = self.model(config)?;
        let words = [
            (stage.text_masks, stage.text_length),
            (stage.caption_masks, stage.caption_length),
        ];
        let preparation = Preparation::new(
            &processor,
            Arc::clone(&text),
            words,
            model.config.ce_ignore_index,
            self.job.seed,
        );
        let preparation = Preparation {
            crop: stage.crop,
            negatives: stage.negatives,
            ..preparation
        };
        let mut readers = Vec::new();
        let drawn = || stage.mixture.iter().filter(|share| share.ratio > 0.0);
        for share in drawn() {
            readers.push(self.reader(share, stage, (&model, &preparation))?);
        }
        let ratios: Vec<f64> = drawn().map(|share| share.ratio).collect();
        Ok(JointTraining {
            mixture: Arc::new(Mixture::new(&ratios, stage.schedule.steps, self.job.seed)),
            model,
            store,
            processor,
            text,
            readers: Arc::new(readers),
            preparation: Arc::new(preparation),
            threads: self.job.threads,
            contrastive_share: stage.contrastive_share,
            precision: self.job.precision,
        })
    }

    fn reader(
        &self,
        share: &Share,
        stage: &TrainStage,
        (model, preparation): (&FlavaForPreTraining, &Preparation),
    ) -> Result<Reader> {
        let dataset = self.corpus(&share.corpus)?;
        let weights = &stage.weights;
        let labels = if !weights.read_patches(share.rows) {
            PatchLabels::Unread
        } else if stage.crop.is_some() {
            PatchLabels::Codebook
        } else {
            let codebook = model.codebook()?;
            let codebooks: String = self.of_kinds(&["codebook"]).into_iter().cloned().collect();
            let transform = preparation.codebook.id();
            let weights = codebook.digest()?;
            let digest = format!(
                "{} {codebooks} {transform} {weights}",
                self.digest(&share.corpus)?
            );
            let file = self.job.out.join(format!(
                "visual-words-{}-{}.bin",
                share.corpus,
                hex(&Sha256::digest(digest)[..6])
            ));
            let patches = model.config.image_config.grid().pow(2) as usize;
            let how = (&preparation.codebook, self.job.threads, self.job.device);
            PatchLabels::Known(Arc::new(VisualWords::open(
                &file,
                &dataset,
                (codebook, patches),
                how,
                &self.progress,
            )?))
        };
        let draws = self.draws(
            &share.corpus,
            share.batch_size.unwrap_or(stage.schedule.batch_size),
        )?;
        Ok(Reader {
            draws,
            kind: share.rows,
            labels,
        })
    }
}

/// The variables of some parts, with what an earlier model has for each.
fn taken<'c>(
    checkpoint: &'c Checkpoint,
    store: &VarStore,
    parts: &[Part],
) -> Result<Vec<(Tensor, &'c CheckpointTensor)>> {
    let wrong = |reason: String| Error::Input(format!("{}: {reason}", checkpoint.path().display()));
    // The codebook stays the one that a stage made: it names the patches.
    let is_taken = |name: &str| {
        parts.iter().any(|part| name.starts_with(part.prefix())) && !name.starts_with(CODEBOOK)
    };
    let variables: BTreeMap<String, Tensor> = store
        .variables()
        .into_iter()
        .filter(|(name, _)| is_taken(name))
        .collect();
    let beyond =
        |name: &&String| is_taken(name) && name.contains(LAYERS) && !variables.contains_key(*name);
    if let Some(name) = checkpoint.tensors().keys().find(beyond) {
        return Err(wrong(format!(
            "has {name}, the recipe's model has fewer layers"
        )));
    }
    let give = |(name, variable): (&String, &Tensor)| {
        let wanted = variable.size();
        match checkpoint.tensors().get(name) {
            Some(tensor) if tensor.size() == wanted => Ok((variable.shallow_clone(), tensor)),
            Some(tensor) => Err(wrong(format!(
                "{name} is {:?}, the recipe's model has {wanted:?}",
                tensor.size()
            ))),
            None => Err(wrong(format!(
                "{name} is missing, the recipe's model has {wanted:?}"
            ))),
        }
    };
    variables.iter().map(give).collect()
}
