//! LoRA: what is added to the attention's projections, trained in their place, and kept apart from
//! the weights, as PEFT keeps it.

use std::path::{Path, PathBuf};

use flava_base::{is_there, write_atomic};
use flava_model::{
    Error as ModelError, LoadOptions, Pretrained,
    checkpoint::{load_exactly, read_tensors, write_tensors},
    layers::{Linear, Lora},
    runtime::{Fill, Vars},
};
use flava_tasks::{LoraProjection, LoraRecipe};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Tensor, nn::VarStore};

use super::network::{Network, is_addition};
use crate::{Error, Result};

/// PEFT's names of files, and how it begins those of tensors.
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";
const PREFIX: &str = "base_model.model.";

/// The weights that additions belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoraBase {
    /// As it was asked for.
    pub(crate) model: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Digest of its weights.
    pub(crate) fingerprint: String,
}

impl LoraBase {
    /// Where PEFT finds it: a repository by its name, anything else by its folder.
    fn place(&self) -> String {
        let is_repo = self.model.split('/').count() == 2 && !Path::new(&self.model).exists();
        if is_repo {
            self.model.clone()
        } else {
            self.folder.display().to_string()
        }
    }

    /// The folder with the weights, which are those that it was trained on.
    ///
    /// # Errors
    /// If they are not there, or others.
    pub(crate) fn check(&self, folder: &Path) -> Result<PathBuf> {
        let missing = |reason: String| Error::Lacking {
            what: "weights",
            reason: format!(
                "the LoRA was trained on {}, of which {} {reason}: flava-finetune merge --base DIR names another place",
                self.model,
                folder.display()
            ),
        };
        if !folder.is_dir() {
            return Err(missing("is gone".into()));
        }
        let found = Pretrained::describe(folder, LoadOptions::default())?.fingerprint;
        if found == self.fingerprint {
            Ok(folder.to_owned())
        } else {
            Err(missing("holds others".into()))
        }
    }
}

/// Whether a folder holds additions without the weights that they belong to.
pub(crate) fn is_lora(folder: &Path) -> bool {
    is_there(&folder.join(CONFIG)) && is_there(&folder.join(WEIGHTS))
}

/// The file of a folder's additions, if it has any.
pub(super) fn additions_of(folder: &Path) -> Option<PathBuf> {
    is_lora(folder).then(|| folder.join(WEIGHTS))
}

fn is_on(recipe: &LoraRecipe, layer: &str) -> bool {
    recipe
        .on
        .iter()
        .any(|projection| layer.ends_with(end_of(*projection)))
}

fn end_of(projection: LoraProjection) -> &'static str {
    match projection {
        LoraProjection::Query => ".attention.attention.query",
        LoraProjection::Key => ".attention.attention.key",
        LoraProjection::Value => ".attention.attention.value",
        LoraProjection::Output => ".attention.output.dense",
    }
}

impl Network {
    /// Adds to the projections that the recipe names and the task trains; the sums are those of
    /// before, as one factor is zero.
    pub(super) fn add_lora(&mut self, recipe: &LoraRecipe, seed: u64) -> Result<()> {
        tch::manual_seed(seed as i64);
        let (store, trained) = (&self.store, &self.trained_parts());
        let mut count = 0;
        self.flava
            .each_projection(&mut |name: &str, linear: &mut Linear| {
                if is_on(recipe, name) && trained.iter().any(|part| name.starts_with(part)) {
                    count += 1;
                    linear.set_lora(addition(store, name, linear, recipe)?);
                }
                Ok::<(), ModelError>(())
            })?;
        if count == 0 {
            return Err(Error::Internal("a LoRA has layers to be on"));
        }
        self.has_lora = true;
        Ok(())
    }

    /// Makes additions a part of the weights.
    pub(super) fn merge_lora(&mut self) -> Result<()> {
        self.flava
            .each_projection(&mut |_: &str, linear: &mut Linear| linear.merge_lora())?;
        self.has_lora = false;
        Ok(())
    }

    fn additions(&self) -> impl Iterator<Item = (String, Tensor)> {
        let variables = self.store.variables().into_iter();
        variables.filter(|(name, _)| is_addition(name))
    }

    /// Takes the additions of a folder over.
    pub(super) fn load_lora(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(WEIGHTS);
        let own = |(name, tensor): (String, Tensor)| {
            let inside = name.strip_prefix(PREFIX).unwrap_or(&name);
            (format!("flava.{inside}"), tensor)
        };
        let tensors = read_tensors(&path)?.into_iter().map(own);
        Ok(load_exactly(self.additions(), tensors, &path)?)
    }

    /// Writes the additions as PEFT does.
    pub(super) fn write_lora(
        &self,
        folder: &Path,
        recipe: &LoraRecipe,
        base: &LoraBase,
    ) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|e| flava_base::Error::io(folder, e))?;
        let named = |(name, tensor): (String, Tensor)| {
            let inside = name.strip_prefix("flava.").unwrap_or(&name);
            (format!("{PREFIX}{inside}"), tensor)
        };
        write_tensors(&folder.join(WEIGHTS), self.additions().map(named).collect())?;
        let encoders: Vec<&str> = self
            .trained_parts()
            .iter()
            .filter_map(|part| part.strip_prefix("flava.")?.strip_suffix("_model."))
            .collect();
        let ends: Vec<String> = recipe
            .on
            .iter()
            .map(|on| end_of(*on)[1..].replace('.', "\\."))
            .collect();
        let config = json!({
            "peft_type": "LORA",
            "base_model_name_or_path": base.place(),
            "r": recipe.rank,
            "lora_alpha": recipe.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "task_type": null,
            "modules_to_save": null,
            "target_modules": format!(
                "({})_model\\.encoder\\.layer\\.\\d+\\.({})",
                encoders.join("|"),
                ends.join("|")
            ),
        });
        let text = format!("{config:#}\n");
        Ok(write_atomic(&folder.join(CONFIG), text.as_bytes())?)
    }
}

/// What is added to a layer: a factor with PyTorch's first weights of a linear layer, and one of
/// zeros.
fn addition(
    store: &VarStore,
    name: &str,
    linear: &Linear,
    recipe: &LoraRecipe,
) -> std::result::Result<Lora, ModelError> {
    let (input, output) = linear.sizes()?;
    let root = Vars::root(store, Fill::New(0.0));
    let layer = name.split('.').fold(root, |vars, part| vars / part);
    let mut a = (&layer / "lora_A").zeros("weight", &[recipe.rank, input]);
    let bound = 1.0 / (input as f64).sqrt();
    let _filled = tch::no_grad(|| a.f_uniform_(-bound, bound))?;
    Ok(Lora {
        a,
        b: (&layer / "lora_B").zeros("weight", &[output, recipe.rank]),
        scale: recipe.alpha / recipe.rank as f64,
    })
}
