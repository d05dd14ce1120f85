//! The stages that prepare: the tokenizer, and the codebook, whose training is a stage like others.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use flava_model::{
    FlavaConfig, ImageCodebook,
    checkpoint::load_exactly,
    processor::{PassOrder, TextProcessor},
    runtime::{Fill, Vars},
};
use flava_tasks::Dataset;
use flava_training::Learner;
use tch::{Device, nn::VarStore};

use super::{MODEL_FILES, Run, TOKENIZER_FILES, is_done, stages::result_of};
use crate::{
    Error, Result,
    codebook::{CodebookTraining, read_codebook, write_codebook},
    interrupted,
    recipe::{CodebookStage, TokenizerStage},
};

impl Run<'_> {
    pub(super) fn tokenizer(
        &mut self,
        name: &str,
        stage: &TokenizerStage,
        key: &str,
    ) -> Result<()> {
        let folder = self.folder(name);
        if !is_done(&folder, key)? {
            let text = if stage.from.is_empty() {
                self.learn_tokenizer(name, stage)?
            } else {
                self.earlier_tokenizer(&stage.from)?
            };
            fs::create_dir_all(&folder).map_err(|e| flava_model::Error::io(&folder, e))?;
            for (file, contents) in text.files()? {
                flava_base::write_atomic(&folder.join(file), contents.as_bytes())?;
            }
            flava_base::write_atomic(&folder.join("key"), key.as_bytes())?;
            self.progress
                .say(&format!("{name}: {} word pieces", text.vocab_size()));
        }
        self.made.text = Some(Arc::new(TextProcessor::from_directory(&folder)?));
        Ok(())
    }

    /// A tokenizer that no stage makes.
    pub(super) fn earlier_tokenizer(&self, from: &str) -> Result<TextProcessor> {
        Ok(TextProcessor::from_directory(
            &self.earlier(from, &TOKENIZER_FILES)?,
        )?)
    }

    fn learn_tokenizer(&self, name: &str, stage: &TokenizerStage) -> Result<TextProcessor> {
        let mut corpora = Vec::new();
        for corpus in &stage.corpora {
            corpora.push(self.corpus(corpus)?);
        }
        let most = |dataset: &Arc<dyn Dataset>| {
            if stage.max_texts == 0 {
                dataset.len()
            } else {
                stage.max_texts.min(dataset.len())
            }
        };
        let all: usize = corpora.iter().map(most).sum();
        let bar = Mutex::new(self.progress.task(name, 2 * all));
        let broken: Mutex<(usize, Option<Error>)> = Mutex::default();
        let seen = || {
            broken
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let too_many = |count: usize| count as f64 > stage.max_broken * all as f64;
        let texts = || {
            seen().0 = 0; // they are read twice
            let rows = corpora
                .iter()
                .flat_map(|dataset| (0..most(dataset)).map(move |row| (dataset, row)));
            rows.map_while(|(dataset, row)| {
                bar.lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .add(1);
                if interrupted().is_err() {
                    return None;
                }
                let error = match dataset.texts_of(row) {
                    Ok(texts) => return Some(texts),
                    Err(error) => error,
                };
                let mut seen = seen();
                seen.0 += 1;
                seen.1.get_or_insert(error.into());
                (!too_many(seen.0)).then(Vec::new)
            })
            .flatten()
        };
        let learned = TextProcessor::train(texts, stage.vocab_size, stage.min_frequency)?;
        interrupted()?;
        let (count, first) = broken
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(first) = first {
            if too_many(count) {
                let most = stage.max_broken;
                return Err(Error::Input(format!(
                    "{name}: more than max_broken = {most} of {all} texts are broken; the first: {first}"
                )));
            }
            self.progress.say(&format!(
                "{name}: {count} broken texts are left out; the first: {first}"
            ));
        }
        Ok(learned)
    }

    /// The configuration that all models of this run have.
    pub(super) fn config(&self) -> Result<FlavaConfig> {
        let words = self.made.text.as_ref().map_or(0, |text| text.vocab_size());
        self.job.recipe.config(words)
    }

    /// The variables of a codebook that no stage makes.
    pub(super) fn earlier_codebook(&self, from: &str, config: &FlavaConfig) -> Result<VarStore> {
        let from = self.earlier(from, &MODEL_FILES)?;
        let store = VarStore::new(Device::Cpu);
        let _codebook = ImageCodebook::new(
            &(Vars::root(&store, Fill::Unset) / "image_codebook"),
            &config.image_codebook_config,
        );
        load_exactly(store.variables(), read_codebook(&from)?, &from)?;
        Ok(store)
    }

    pub(super) fn codebook(&mut self, name: &str, stage: &CodebookStage, key: &str) -> Result<()> {
        let config = self.config()?;
        let folder = self.folder(name);
        if !stage.from.is_empty() {
            if !is_done(&folder, key)? {
                let store = self.earlier_codebook(&stage.from, &config)?;
                let last = folder.join("last");
                fs::create_dir_all(&last).map_err(|e| flava_model::Error::io(&last, e))?;
                write_codebook(&last, &config.image_codebook_config, store.variables())?;
                flava_base::write_atomic(&folder.join("key"), key.as_bytes())?;
            }
            self.made.codebook = Some(folder.join("last"));
            return Ok(());
        }
        let transform = self
            .job
            .recipe
            .processor(&config)
            .codebook_transform(PassOrder::default());
        let make = || -> Result<CodebookTraining> {
            let draws = self.draws(&stage.corpus, stage.schedule.batch_size)?;
            Ok(CodebookTraining::new(
                &config,
                stage,
                draws,
                transform.clone(),
                (self.job.seed, self.job.device, self.job.threads),
            ))
        };
        let result = match result_of(&folder, key, &stage.schedule)? {
            Some(result) => result,
            None => {
                self.trained(name, &stage.schedule, key, make()?, None)?
                    .folder
            }
        };
        if !folder.join("reconstruction.json").exists() {
            let mut trained = make()?;
            trained.load(&result)?;
            let found = trained.report(&folder)?;
            self.progress.say(&format!(
                "{name}: squared error {:.4} ({:.4} of the mean colour), {:.0} % of the words used, perplexity {:.0}",
                found.squared_error,
                found.squared_error_of_mean,
                found.usage * 100.0,
                found.perplexity
            ));
        }
        self.made.codebook = Some(result);
        Ok(())
    }
}
