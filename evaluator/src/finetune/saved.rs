//! A fine-tuned model on disk: a folder in Hugging Face's layout with the head, what it means, and,
//! of the last one, all that training goes on from.

use std::path::Path;

use flava_base::{DigestIndex, MANIFEST, hex, is_there, verify_folder};
use flava_model::checkpoint::{
    Architecture, Checkpoint, load_exactly, read_tensors, write_directory, write_tensors,
};
use flava_tasks::{Feature, Recipe};
use flava_training::last_state;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Network, NetworkStart, Output, ValidationScore};
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
}

/// Whether a folder holds a fine-tuned model.
pub(crate) fn is_tuned(folder: &Path) -> bool {
    is_there(&folder.join(DESCRIPTION))
}

/// A digest of what a fine-tuned folder has beside its encoders: the head and what it means.
pub(crate) fn head_digest(folder: &Path) -> Result<String> {
    let digests = DigestIndex::none().digests(&[folder.join(HEAD), folder.join(DESCRIPTION)]);
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
        write_directory(
            folder,
            Architecture::FlavaModel,
            &network.config,
            network.store.variables(),
            &network.image,
            &network.text,
        )?;
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
        let recipe = Recipe {
            image_size: 0,
            ..self.recipe.clone()
        }; // the folder's own size is the tuned one
        let start = NetworkStart {
            folder,
            random: false,
            recipe: &recipe,
            feature: self.feature,
            output: self.output.clone(),
            seed: self.seed,
        };
        let mut network = Network::new(start, device)?;
        network.load_head(&folder.join(HEAD))?;
        Ok(network)
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

    /// Takes encoders and head of a folder over.
    pub(super) fn load(&mut self, folder: &Path) -> Result<()> {
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
