//! A job that is run: its corpora, what its stages made, and the next of them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use flava_base::DigestIndex;
use flava_model::{
    AttentionKind, FlavaConfig,
    checkpoint::load_exactly,
    processor::TextProcessor,
    runtime::{Fill, Progress, distributed::Group},
};
use flava_tasks::{Dataset, sources::Corpus};
use flava_training::peak_flops;
use tch::{Device, nn::VarStore};

use super::job::Job;
use crate::{
    Error, FlavaForPreTraining, OnEmpty, Result,
    codebook::{CODEBOOK, read_codebook},
    interrupted,
    recipe::Stage,
    sampling::{CorpusSampler, Order, Rank},
};

/// What is read of an earlier model or codebook.
pub(super) const MODEL_FILES: [&str; 3] = ["config.json", "model.safetensors", "pytorch_model.bin"];

/// What earlier stages made.
#[derive(Default)]
pub(super) struct StageArtifacts {
    pub(super) text: Option<Arc<TextProcessor>>,
    pub(super) codebook: Option<PathBuf>,
    /// Folders of the trained models, by stage.
    pub(super) models: BTreeMap<String, PathBuf>,
    /// Digests of all that decides each stage.
    pub(super) keys: BTreeMap<String, String>,
}

/// A job that is run.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job,
    pub(super) progress: Progress,
    corpora: Mutex<BTreeMap<String, Arc<dyn Dataset>>>,
    /// Of the contents of corpora, by name.
    digests: Mutex<BTreeMap<String, String>>,
    pub(super) made: StageArtifacts,
    pub(super) peak: f64,
    /// The processes that train together.
    pub(super) group: Group,
}

impl<'a> Run<'a> {
    /// Of a job of which no stage has run.
    pub(super) fn new(job: &'a Job, progress: Progress, group: &Group) -> Self {
        Self {
            job,
            progress,
            corpora: Mutex::default(),
            digests: Mutex::default(),
            made: StageArtifacts::default(),
            peak: 0.0,
            group: group.clone(),
        }
    }
}

impl Run<'_> {
    /// Runs a stage, or takes what it made before; the folder of its model, if it makes one.
    pub(super) fn stage(&mut self, name: &str, stage: &Stage) -> Result<Option<PathBuf>> {
        interrupted()?;
        let begun = self.begun(name, stage, self.settings(name, stage)?)?;
        let key = begun.key();
        self.lead(&format!("{name}/settings"), |run| {
            run.note_settings(name, &begun)
        })?;
        let made = match stage {
            Stage::Tokenizer(stage) => self.tokenizer(name, stage, &key).map(|()| None),
            Stage::Codebook(stage) => self.codebook(name, stage, &key).map(|()| None),
            Stage::Dino(stage) => self.dino(name, stage, &key).map(Some),
            Stage::Train(stage) => self.train(name, stage, &key).map(Some),
        }?;
        self.made
            .keys
            .insert(name.to_owned(), begun.key_of_result());
        if let Some(folder) = &made {
            self.made.models.insert(name.to_owned(), folder.clone());
        }
        Ok(made)
    }

    /// Does in process 0 what there is to be done once, while the others wait.
    pub(super) fn lead(&self, piece: &str, act: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.group.peers().led(piece, || act(self))?
    }

    /// What a large product reaches in all processes together, which process 0 measures: at once
    /// they would take turns.
    pub(super) fn measured_peak(&self) -> Result<f64> {
        let own = if self.group.leads() {
            peak_flops(self.job.device, self.job.precision)?
        } else {
            0.0
        };
        let of_one = self.group.exchange(&[own])?[0][0];
        Ok(of_one * self.group.world() as f64)
    }

    /// The folder of a model that no stage makes, with those of `files` that it has.
    pub(super) fn earlier(&self, from: &str, files: &[&str]) -> Result<PathBuf> {
        Ok(self.job.positions.part_of_model(from, files)?)
    }

    fn corpus_of_recipe(&self, name: &str) -> Result<&Corpus> {
        let corpora = &self.job.recipe.corpora;
        corpora
            .get(name)
            .ok_or_else(|| Error::Input(format!("there is no corpus {name}")))
    }

    /// A corpus, opened once.
    pub(super) fn corpus(&self, name: &str) -> Result<Arc<dyn Dataset>> {
        let mut corpora = self
            .corpora
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = corpora.get(name) {
            return Ok(Arc::clone(known));
        }
        let corpus = self.corpus_of_recipe(name)?;
        // The world stays the same for all seeds of a run; what is drawn from it does not.
        let dataset = corpus.open(&self.job.data, 0)?;
        for note in dataset.notes() {
            self.progress.say(&format!("note: {note}"));
        }
        corpora.insert(name.to_owned(), Arc::clone(&dataset));
        Ok(dataset)
    }

    /// A digest of all that a corpus holds.
    pub(super) fn digest(&self, name: &str) -> Result<String> {
        let mut digests = self
            .digests
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = digests.get(name) {
            return Ok(known.clone());
        }
        let corpus = self.corpus_of_recipe(name)?;
        let peers = self.group.peers();
        let digest = peers.first(&format!("digest of {name}"), || {
            corpus.digest(&self.job.data, &DigestIndex::of_user())
        })??;
        digests.insert(name.to_owned(), digest.clone());
        Ok(digest)
    }

    /// Batches of a corpus.
    pub(super) fn samples(&self, name: &str, batch_size: usize) -> Result<CorpusSampler> {
        let dataset = self.corpus(name)?;
        let order = Order::new(
            name,
            dataset.len(),
            self.job.recipe.shuffle_buffer,
            self.job.seed,
        );
        Ok(CorpusSampler {
            name: name.to_owned(),
            dataset,
            order,
            rank: Rank {
                rank: self.group.rank(),
                world: self.group.world(),
            },
            batch_size,
        })
    }

    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.job.out.join(name)
    }

    /// The configuration that all models of this run have.
    pub(super) fn config(&self) -> Result<FlavaConfig> {
        let words = self.made.text.as_ref().map_or(0, |text| text.vocab_size());
        self.job.recipe.config(words)
    }

    /// The tokenizer that a stage made.
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
}
