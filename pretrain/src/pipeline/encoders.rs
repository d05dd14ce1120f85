//! The stages that train encoders: models with what earlier stages made, and their data.

use std::{path::PathBuf, sync::Arc};

use flava_base::hex;
use flava_model::processor::{ImageProcessorConfig, PassOrder};
use flava_tasks::Dataset;
use flava_training::{Candidate, Evaluation, Log};
use sha2::{Digest, Sha256};

use super::{measure::Measured, run::Run, training::result_of};
use crate::{
    FlavaForPreTraining, Result,
    dino::{Dino, DinoSetup},
    joint::{
        ExampleTransform, ImageTokenizer, JointTraining, PatchLabels, PretrainingDataset,
        VisualTokens,
    },
    recipe::{DinoStage, Share, TrainStage},
    sampling::Mixture,
};

impl Run<'_> {
    pub(super) fn dino(&mut self, name: &str, stage: &DinoStage, key: &str) -> Result<PathBuf> {
        let folder = self.folder(name);
        if let Some(result) = result_of(&folder, key, &stage.schedule, None)? {
            return Ok(result);
        }
        let config = self.config()?;
        let processor = self.job.recipe.processor(&config);
        let (model, store) = self.model(config)?;
        let setup = DinoSetup {
            model,
            store,
            processor,
            pass_order: PassOrder::default(),
            samples: self.samples(&stage.corpus, stage.schedule.batch_size)?,
            text: self.text()?,
            seed: self.job.seed,
            threads: self.job.threads,
            precision: self.job.precision,
            recompute: self.job.recompute,
        };
        let learner = Dino::new(setup, stage)?;
        let trained = self.trained(name, &stage.schedule, key, learner, None)?;
        Ok(trained.folder)
    }

    pub(super) fn train(&mut self, name: &str, stage: &TrainStage, key: &str) -> Result<PathBuf> {
        let folder = self.folder(name);
        let evaluate = stage.evaluate.as_ref();
        let best_by = evaluate.map(|evaluate| evaluate.best_by.as_str());
        if let Some(result) = result_of(&folder, key, &stage.schedule, best_by)? {
            return Ok(result);
        }
        let learner = self.joint_training(stage)?;
        self.init(&learner.store, &stage.init)?;
        let measure = |learner: &mut JointTraining, candidate: &Candidate, log: &mut Log| {
            let Some(evaluate) = evaluate else {
                return Ok(None);
            };
            let measured = Measured {
                stage: name,
                step: candidate.step,
                folder: &candidate.folder(learner)?,
            };
            self.measure(&measured, evaluate, log)
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
    fn joint_training(&self, stage: &TrainStage) -> Result<JointTraining> {
        let mut config = self.config()?;
        stage.weights.set(&mut config);
        config.set_dropout(stage.dropout);
        let processor = self.job.recipe.processor(&config);
        let text = self.text()?;
        let (mut model, store) = self.model(config)?;
        model.weights = stage.weights;
        let preparation = self.preparation(stage, &processor, &model)?;
        let sampled = || stage.mixture.iter().filter(|share| share.ratio > 0.0);
        let mut readers = Vec::new();
        for share in sampled() {
            readers.push(self.reader(share, stage, &model, &preparation)?);
        }
        let ratios: Vec<f64> = sampled().map(|share| share.ratio).collect();
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

    /// How a stage's rows are made.
    fn preparation(
        &self,
        stage: &TrainStage,
        processor: &ImageProcessorConfig,
        model: &FlavaForPreTraining,
    ) -> Result<ExampleTransform> {
        let words = [
            (stage.text_masks, stage.text_length),
            (stage.caption_masks, stage.caption_length),
        ];
        let (text, ignore) = (self.text()?, model.config.ce_ignore_index);
        Ok(ExampleTransform {
            crop: stage.crop,
            negatives: stage.negatives,
            ..ExampleTransform::new(processor, text, words, ignore, self.job.seed)
        })
    }

    /// A corpus of a stage's mixture.
    fn reader(
        &self,
        share: &Share,
        stage: &TrainStage,
        model: &FlavaForPreTraining,
        preparation: &ExampleTransform,
    ) -> Result<PretrainingDataset> {
        let dataset = self.corpus(&share.corpus)?;
        let labels = if !stage.weights.read_patches(share.rows) {
            PatchLabels::Unread
        } else if stage.crop.is_some() {
            PatchLabels::Codebook
        } else {
            let words = self.visual_words(&share.corpus, &dataset, model, preparation)?;
            PatchLabels::Known(Arc::new(words))
        };
        let batch_size = share.batch_size.unwrap_or(stage.schedule.batch_size);
        Ok(PretrainingDataset {
            samples: self.samples(&share.corpus, batch_size)?,
            kind: share.rows,
            labels,
        })
    }

    /// The visual tokens of a corpus, in a file whose name says what they depend on.
    fn visual_words(
        &self,
        corpus: &str,
        dataset: &Arc<dyn Dataset>,
        model: &FlavaForPreTraining,
        preparation: &ExampleTransform,
    ) -> Result<VisualTokens> {
        let codebook = model.codebook()?;
        let codebooks: String = self.of_kinds(&["codebook"]).into_iter().cloned().collect();
        let transform = preparation.codebook.id();
        let weights = codebook.digest()?;
        let contents = self.digest(corpus)?;
        let digest = Sha256::digest(format!("{contents} {codebooks} {transform} {weights}"));
        let name = format!("visual-words-{corpus}-{}.bin", hex(&digest[..6]));
        let tokenizer = ImageTokenizer {
            codebook,
            patches: model.config.image_config.grid().pow(2) as usize,
            transform: &preparation.codebook,
            threads: self.job.threads,
            device: self.job.device,
        };
        let file = self.job.out.join(name);
        VisualTokens::open(&file, dataset, &tokenizer, &self.progress, &self.group)
    }
}
