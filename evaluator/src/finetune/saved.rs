//! A fine-tuned model on disk: a folder in Hugging Face's layout with the head, what it means, and,
//! of the last one, all that training goes on from.

use std::path::{Path, PathBuf};

use flava_base::{
    DigestIndex, MANIFEST, hex, is_there, replace_folder, restore_folder, verify_folder,
};
use flava_model::{
    checkpoint::{
        Architecture, Checkpoint, load_exactly, read_tensors, write_directory, write_tensors,
    },
    runtime::training::{AdamW, LossScaler},
};
use flava_tasks::{Feature, Recipe};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tch::Tensor;

use super::{Network, Output, Reached};
use crate::{Error, Result};

/// Largest description: a vocabulary of answers stands in it.
const MAX_DESCRIPTION: u64 = 256 << 20;
const DESCRIPTION: &str = "finetuned.json";
const HEAD: &str = "head.safetensors";
/// How the names of the head's tensors begin.
const CLASSIFIER: &str = "classifier.";
const STATE: &str = "training_state.json";
const MOMENTS: &str = "optimiser.safetensors";
const AVERAGE: &str = "average.safetensors";

/// What a fine-tuned model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
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
    pub(crate) reached: Option<Reached>,
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

/// What training goes on from, beside weights and moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) step: usize,
    pub(crate) scaler: LossScaler,
    /// The best score so far, and evaluations since then.
    pub(crate) best: Option<Reached>,
    pub(crate) without_gain: usize,
    /// The step of the last evaluation.
    pub(crate) evaluated: usize,
    /// Rows that went through the network at once.
    pub(crate) micro_batch: usize,
}

/// Tensors by name.
pub(crate) type Weights = Vec<(String, Tensor)>;

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

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(flava_base::read_json(path, MAX_DESCRIPTION)?)
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Other(e.to_string()))?;
    Ok(flava_base::write_atomic(
        path,
        format!("{text}\n").as_bytes(),
    )?)
}

impl Saved {
    /// What lies in a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        read(&folder.join(DESCRIPTION))
    }

    /// The same, if every file of the folder is as it was written.
    pub(crate) fn read_whole(folder: &Path) -> Result<Self> {
        if is_there(&folder.join(MANIFEST)) {
            let meant = format!("(if that was meant, remove {MANIFEST})");
            verify_folder(folder).map_err(|e| Error::Other(format!("{e} {meant}")))?;
        }
        Self::read(folder)
    }

    /// Writes the network, and with `training` all that training goes on from, in place of what is
    /// in the folder: the old one stays whole until the new one is.
    pub(crate) fn write(
        &self,
        folder: &Path,
        network: &Network,
        training: Option<(&State, &AdamW, Option<&Weights>)>,
    ) -> Result<()> {
        replace_folder(folder, |part| {
            let variables = || network.store.variables();
            write_directory(
                part,
                Architecture::FlavaModel,
                &network.config,
                variables(),
                &network.image,
                &network.text,
            )?;
            write_tensors(
                &part.join(HEAD),
                variables()
                    .into_iter()
                    .filter(|(name, _)| name.starts_with(CLASSIFIER))
                    .collect(),
            )?;
            if let Some((state, optimiser, average)) = training {
                let moments = optimiser.state();
                if !moments.is_empty() {
                    write_tensors(&part.join(MOMENTS), moments)?;
                }
                if let Some(average) = average {
                    write_tensors(
                        &part.join(AVERAGE),
                        average
                            .iter()
                            .map(|(name, t)| (name.clone(), t.shallow_clone()))
                            .collect(),
                    )?;
                }
                write(&part.join(STATE), state)?;
            }
            write(&part.join(DESCRIPTION), self)
        })
    }

    /// The network of a folder, on a device.
    pub(crate) fn network(&self, folder: &Path, device: tch::Device) -> Result<Network> {
        let recipe = Recipe {
            image_size: 0,
            ..self.recipe.clone()
        }; // the folder's own size is the tuned one
        let mut network = Network::new(
            folder,
            false,
            &recipe,
            (self.feature, self.output.clone()),
            (self.seed, device),
        )?;
        network.load_head(&folder.join(HEAD))?;
        Ok(network)
    }

    /// Takes up where a folder's training was left: weights into the network, moments into the
    /// optimiser.
    pub(crate) fn resume(
        folder: &Path,
        network: &mut Network,
        optimiser: &mut AdamW,
    ) -> Result<(State, Option<Weights>)> {
        let damaged = |e: flava_base::Error| {
            Error::Other(format!("{e}. Remove {} to begin again", folder.display()))
        };
        verify_folder(folder).map_err(damaged)?;
        let state: State = read(&folder.join(STATE))?;
        Checkpoint::open(folder)?
            .load_into(&network.store)?
            .require(&["flava"])?;
        network.load_head(&folder.join(HEAD))?;
        let moments = folder.join(MOMENTS);
        if is_there(&moments) {
            optimiser.load_state(read_tensors(&moments)?)?;
        }
        let average = folder.join(AVERAGE);
        let average = if is_there(&average) {
            Some(read_tensors(&average)?)
        } else {
            None
        };
        Ok((state, average))
    }
}

impl Network {
    fn load_head(&mut self, path: &Path) -> Result<()> {
        let variables = self
            .store
            .variables()
            .into_iter()
            .filter(|(name, _)| name.starts_with(CLASSIFIER));
        Ok(load_exactly(variables, read_tensors(path)?, path)?)
    }
}

/// Where the training in a folder goes on from.
pub(crate) fn last(folder: &Path) -> Option<PathBuf> {
    restore_folder(&folder.join("best"));
    restore_folder(&folder.join("last"));
    Some(folder.join("last")).filter(|last| is_there(&last.join(STATE)))
}
