//! A fine-tuned model on disk: a folder in Hugging Face's layout with the head, what it means, and,
//! of the last one, all that training goes on from.

use std::path::Path;

use flava_base::{DigestIndex, MANIFEST, hex, is_there, replace_folder, verify_folder};
use flava_model::checkpoint::{
    Architecture, Checkpoint, load_exactly, read_tensors, write_directory, write_tensors,
};
use flava_tasks::{Feature, Recipe};
use flava_training::last_state;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{
    Network, NetworkStart, Output, ValidationScore,
    lora::{LoraBase, additions_of},
    network::is_addition,
};
use crate::{Error, Result};

/// Largest description: a vocabulary of answers stands in it.
const MAX_DESCRIPTION: u64 = 256 << 20;
const DESCRIPTION: &str = "finetuned.json";
const HEAD: &str = "head.safetensors";
/// How the names of the head's tensors begin.
const CLASSIFIER: &str = "classifier.";

/// What a fine-tuned model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FinetunedModel {
    /// The task it was trained on.
    pub(crate) task: String,
    pub(crate) task_version: u32,
    /// What the head reads.
    pub(crate) feature: Feature,
    /// What its numbers mean.
    pub(crate) output: Output,
    pub(crate) recipe: Recipe,
    pub(crate) recipe_name: String,
    /// The weights it started from.
    pub(crate) base: String,
    /// Digest of those, of the data and of all settings: what training goes on only under.
    pub(crate) key: String,
    pub(crate) seed: u64,
    /// Updates that were made.
    pub(crate) step: usize,
    /// The score that it was chosen by, where there was one.
    pub(crate) reached: Option<ValidationScore>,
    /// "checkpoint", or "random".
    #[serde(default)]
    pub(crate) initialisation: String,
    /// Rows that it was trained on.
    #[serde(default)]
    pub(crate) train_rows: usize,
    /// What was done otherwise than the protocol has it.
    #[serde(default)]
    pub(crate) departures: Vec<String>,
    /// What the task called its classes, in the order of the head's numbers.
    #[serde(default)]
    pub(crate) class_names: Vec<String>,
    /// The weights that are not here, of a LoRA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lora: Option<LoraBase>,
}

/// Whether a folder holds a fine-tuned model.
pub(crate) fn is_tuned(folder: &Path) -> bool {
    is_there(&folder.join(DESCRIPTION))
}

/// A digest of what a fine-tuned folder has beside its encoders: the head and what it means.
pub(crate) fn head_digest(folder: &Path) -> Result<String> {
    let mut files = vec![folder.join(HEAD), folder.join(DESCRIPTION)];
    files.extend(additions_of(folder));
    let digests = DigestIndex::none().digests(&files);
    let digests = digests
        .into_iter()
        .collect::<flava_base::Result<Vec<_>>>()?;
    Ok(hex(&digests.concat()))
}

impl FinetunedModel {
    /// What lies in a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        Ok(flava_base::read_json(
            &folder.join(DESCRIPTION),
            MAX_DESCRIPTION,
        )?)
    }

    /// The same, if every file of the folder is as it was written.
    pub(crate) fn read_whole(folder: &Path) -> Result<Self> {
        if is_there(&folder.join(MANIFEST)) {
            verify_folder(folder).map_err(|source| Error::Changed { source })?;
        }
        Self::read(folder)
    }

    /// Writes the network and what it is into a folder.
    pub(super) fn write(&self, folder: &Path, network: &Network) -> Result<()> {
        match (&self.lora, &self.recipe.lora) {
            (Some(base), Some(recipe)) => network.write_lora(folder, recipe, base)?,
            _ => write_directory(
                folder,
                Architecture::FlavaModel,
                &network.config,
                network.weights(),
                &network.image,
                &network.text,
            )?,
        }
        let head = network.head_variables().collect();
        write_tensors(&folder.join(HEAD), head)?;
        let text = serde_json::to_string_pretty(self)?;
        Ok(flava_base::write_atomic(
            &folder.join(DESCRIPTION),
            format!("{text}\n").as_bytes(),
        )?)
    }

    /// The network of a folder, on a device.
    pub(crate) fn network(&self, folder: &Path, device: tch::Device) -> Result<Network> {
        let Some(base) = &self.lora else {
            let recipe = Recipe {
                image_size: 0,
                ..self.recipe.clone()
            }; // the folder's own size is the tuned one
            let mut network = Network::new(self.start(folder, &recipe), device)?;
            network.load_head(&folder.join(HEAD))?;
            return Ok(network);
        };
        self.network_over(&base.check(&base.folder)?, folder, device)
    }

    /// The network of a folder with a LoRA and of the weights of another, which are those that it
    /// belongs to.
    fn network_over(&self, weights: &Path, folder: &Path, device: tch::Device) -> Result<Network> {
        let mut start = self.start(weights, &self.recipe);
        start.lora = self.recipe.lora.as_ref();
        let mut network = Network::new(start, device)?;
        network.load(folder)?;
        Ok(network)
    }

    fn start<'a>(&self, folder: &'a Path, recipe: &'a Recipe) -> NetworkStart<'a> {
        NetworkStart {
            folder,
            random: false,
            recipe,
            feature: self.feature,
            output: self.output.clone(),
            lora: None,
            seed: self.seed,
        }
    }

    /// Writes a LoRA's folder with its weights as a model that stands alone; `base` is where the
    /// weights are, if not where they were.
    ///
    /// # Errors
    /// If it holds no LoRA, or the weights are others or not there.
    pub(crate) fn merge(mut self, folder: &Path, base: Option<&Path>, out: &Path) -> Result<()> {
        let Some(own) = self.lora.take() else {
            return Err(Error::Lacking {
                what: "LoRA",
                reason: format!("{} holds a whole model already", folder.display()),
            });
        };
        let weights = own.check(base.unwrap_or(&own.folder))?;
        let mut network = self.network_over(&weights, folder, tch::Device::Cpu)?;
        network.merge_lora()?;
        replace_folder(out, |part| self.write(part, &network))
    }
}

impl Network {
    fn head_variables(&self) -> impl Iterator<Item = (String, Tensor)> {
        let variables = self.store.variables().into_iter();
        variables.filter(|(name, _)| name.starts_with(CLASSIFIER))
    }

    fn load_head(&mut self, path: &Path) -> Result<()> {
        Ok(load_exactly(
            self.head_variables(),
            read_tensors(path)?,
            path,
        )?)
    }

    /// The encoders' variables, without additions.
    fn weights(&self) -> impl Iterator<Item = (String, Tensor)> {
        let variables = self.store.variables().into_iter();
        variables.filter(|(name, _)| !is_addition(name))
    }

    /// Takes encoders, or what is added to them, and head of a folder over.
    pub(super) fn load(&mut self, folder: &Path) -> Result<()> {
        if self.has_lora {
            self.load_lora(folder)?;
            return self.load_head(&folder.join(HEAD));
        }
        Checkpoint::open(folder)?
            .load_into(&self.store)?
            .require(&["flava"])?;
        self.load_head(&folder.join(HEAD))
    }
}

/// Whether there is a training in a folder to go on from.
pub(crate) fn has_training(folder: &Path) -> Result<bool> {
    Ok(last_state(folder)?.is_some())
}
