//! The stage that makes the tokenizer.

use std::{
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flava_model::{processor::TextProcessor, runtime::TaskProgress};
use flava_tasks::Dataset;

use super::{run::Run, settings::is_done};
use crate::{Error, Result, interrupted, recipe::TokenizerStage};

/// What is read of an earlier tokenizer.
const TOKENIZER_FILES: [&str; 4] = [
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// Broken texts of a pass over all of them.
#[derive(Default)]
struct BrokenTexts {
    count: usize,
    first: Option<Error>,
}

/// The texts that a tokenizer is learned from.
struct Texts {
    /// Corpora, and how many rows of each are read.
    corpora: Vec<(Arc<dyn Dataset>, usize)>,
    /// Rows of all of them.
    rows: usize,
    max_broken: f64,
    progress: Mutex<TaskProgress>,
    broken: Mutex<BrokenTexts>,
}

impl Texts {
    fn broken(&self) -> MutexGuard<'_, BrokenTexts> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_too_many(&self, broken: usize) -> bool {
        broken as f64 > self.max_broken * self.rows as f64
    }

    /// All texts once, up to where too many are broken.
    fn pass(&self) -> impl Iterator<Item = String> {
        self.broken().count = 0; // they are read twice
        let rows = self.corpora.iter();
        let rows = rows.flat_map(|(dataset, most)| (0..*most).map(move |row| (dataset, row)));
        rows.map_while(|(dataset, row)| self.texts_of(&**dataset, row))
            .flatten()
    }

    /// A row's texts, none where they are broken; None where reading ends.
    fn texts_of(&self, dataset: &dyn Dataset, row: usize) -> Option<Vec<String>> {
        let progress = self.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner).did(1);
        if interrupted().is_err() {
            return None;
        }
        let error = match dataset.texts_of(row) {
            Ok(texts) => return Some(texts),
            Err(error) => error,
        };
        let mut broken = self.broken();
        broken.count += 1;
        broken.first.get_or_insert(error.into());
        (!self.are_too_many(broken.count)).then(Vec::new)
    }
}

impl Run<'_> {
    pub(super) fn tokenizer(
        &mut self,
        name: &str,
        stage: &TokenizerStage,
        key: &str,
    ) -> Result<()> {
        self.lead(&format!("{name}/made"), |run| {
            run.make_tokenizer(name, stage, key)
        })?;
        let text = TextProcessor::from_directory(&self.folder(name))?;
        self.made.text = Some(Arc::new(text));
        Ok(())
    }

    /// Writes the tokenizer of a stage, unless it is there.
    fn make_tokenizer(&self, name: &str, stage: &TokenizerStage, key: &str) -> Result<()> {
        let folder = self.folder(name);
        if is_done(&folder, key)? {
            return Ok(());
        }
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
            .say(&format!("{name}: {} tokens", text.vocab_size()));
        Ok(())
    }

    /// A tokenizer that no stage makes.
    pub(super) fn earlier_tokenizer(&self, from: &str) -> Result<TextProcessor> {
        Ok(TextProcessor::from_directory(
            &self.earlier(from, &TOKENIZER_FILES)?,
        )?)
    }

    fn learn_tokenizer(&self, name: &str, stage: &TokenizerStage) -> Result<TextProcessor> {
        let texts = self.texts(name, stage)?;
        let pass = || texts.pass();
        let learned = TextProcessor::train(pass, stage.vocab_size, stage.min_frequency)?;
        interrupted()?;
        let BrokenTexts { count, first } = std::mem::take(&mut *texts.broken());
        if let Some(first) = first {
            if texts.are_too_many(count) {
                let (most, all) = (stage.max_broken, texts.rows);
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

    /// The texts of a stage's corpora.
    fn texts(&self, name: &str, stage: &TokenizerStage) -> Result<Texts> {
        let mut corpora = Vec::new();
        for corpus in &stage.corpora {
            let dataset = self.corpus(corpus)?;
            let most = match stage.max_texts {
                0 => dataset.len(),
                most => most.min(dataset.len()),
            };
            corpora.push((dataset, most));
        }
        let rows = corpora.iter().map(|(_, most)| most).sum();
        Ok(Texts {
            corpora,
            rows,
            max_broken: stage.max_broken,
            progress: Mutex::new(self.progress.task(name, name, 2 * rows)),
            broken: Mutex::default(),
        })
    }
}
