//! What a stage takes over from earlier models.

use std::collections::BTreeMap;

use flava_model::{
    AttentionKind,
    checkpoint::{Checkpoint, CheckpointTensor},
    runtime::Fill,
};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::run::{MODEL_FILES, Run};
use crate::{
    Error, FlavaForPreTraining, OnEmpty, Result,
    codebook::CODEBOOK,
    recipe::{Init, Part},
};

/// What the names of an encoder's layers have in them.
const LAYERS: &str = ".encoder.layer.";
/// The table of tokens.
const WORDS: &str = "flava.text_model.embeddings.word_embeddings.weight";

impl Run<'_> {
    /// Takes parts of earlier models over.
    pub(super) fn init(&self, store: &VarStore, init: &[Init]) -> Result<()> {
        for Init { from, parts } in init {
            let folder = match self.made.models.get(from) {
                Some(folder) => folder.clone(),
                None => self.earlier(from, &MODEL_FILES)?,
            };
            let checkpoint = Checkpoint::open(&folder)?;
            for (mut variable, tensor) in tensors_to_transfer(&checkpoint, store, parts)? {
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
        tensors_to_transfer(&checkpoint, &store, parts).map(drop)
    }
}

/// Whether a tensor belongs to some parts. The codebook stays the one that a stage made: it names
/// the patches.
fn is_of(name: &str, parts: &[Part]) -> bool {
    parts.iter().any(|part| name.starts_with(part.prefix())) && !name.starts_with(CODEBOOK)
}

/// What is wrong with a checkpoint that parts are taken of.
fn wrong(checkpoint: &Checkpoint, reason: &str) -> Error {
    Error::Input(format!("{}: {reason}", checkpoint.path().display()))
}

/// The variables of some parts, with what an earlier model has for each.
fn tensors_to_transfer<'c>(
    checkpoint: &'c Checkpoint,
    store: &VarStore,
    parts: &[Part],
) -> Result<Vec<(Tensor, &'c CheckpointTensor)>> {
    let variables: BTreeMap<String, Tensor> = store
        .variables()
        .into_iter()
        .filter(|(name, _)| is_of(name, parts))
        .collect();
    let beyond = |name: &&String| {
        is_of(name, parts) && name.contains(LAYERS) && !variables.contains_key(*name)
    };
    if let Some(name) = checkpoint.tensors().keys().find(beyond) {
        let reason = format!("has {name}, the recipe's model has fewer layers");
        return Err(wrong(checkpoint, &reason));
    }
    let mut all = Vec::new();
    for (name, variable) in variables {
        let tensor = of_size(checkpoint, &name, &variable.size())?;
        all.push((variable, tensor));
    }
    Ok(all)
}

/// A checkpoint's tensor of a name, if it has a size.
fn of_size<'c>(
    checkpoint: &'c Checkpoint,
    name: &str,
    wanted: &[i64],
) -> Result<&'c CheckpointTensor> {
    let reason = match checkpoint.tensors().get(name) {
        Some(tensor) if tensor.size() == wanted => return Ok(tensor),
        Some(tensor) => format!(
            "{name} is {:?}, the recipe's model has {wanted:?}",
            tensor.size()
        ),
        None => format!("{name} is missing, the recipe's model has {wanted:?}"),
    };
    Err(wrong(checkpoint, &reason))
}
