//! What decides a stage: its key, and what of it is other than when the stage was begun.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use super::{job::corpora_of, run::Run};
use crate::{
    Error, Result,
    recipe::{Init, Stage},
};

/// Keys of stages and schedules that only decide what is kept of what is made.
const KEPT_ONLY: [&str; 4] = ["save_every", "keep", "max_broken", "evaluate"];

impl Run<'_> {
    /// Everything that decides what a stage makes, and nothing else: what only decides what is kept
    /// of it may change.
    pub(super) fn settings(&self, name: &str, stage: &Stage) -> Result<Value> {
        let mut corpora = BTreeMap::new();
        for corpus in corpora_of(stage) {
            corpora.insert(corpus, self.digest(corpus)?);
        }
        let earlier = self.earlier_keys(stage);
        let recipe = &self.job.recipe;
        let stage = deciding(stage);
        if corpora.is_empty() || stage["kind"] == "tokenizer" {
            let sizes = recipe
                .model
                .get("image_codebook_config")
                .filter(|_| stage["kind"] == "codebook");
            return Ok(json!({ "stage": stage, "corpora": corpora, "model": sizes }));
        }
        // All processes' rows are those of one; keys had a rank before there were several.
        Ok(json!({
            "stage": stage, "model": recipe.model, "image_masks": recipe.image_masks, "shuffle_buffer": recipe.shuffle_buffer,
            "corpora": corpora, "earlier": earlier, "seed": self.job.seed, "precision": self.job.precision.name(),
            "cuda": self.job.device.is_cuda(), "rank": [0, 1], "name": name,
        }))
    }

    /// The keys of the stages that a stage builds on.
    fn earlier_keys(&self, stage: &Stage) -> Vec<&String> {
        let init: &[Init] = match stage {
            Stage::Tokenizer(_) | Stage::Codebook(_) => return Vec::new(),
            Stage::Dino(_) => &[],
            Stage::Train(stage) => stage.init.as_slice(),
        };
        let mut keys = self.of_kinds(&["tokenizer", "codebook"]);
        keys.extend(
            init.iter()
                .filter_map(|init| self.made.keys.get(&init.from)),
        );
        keys
    }

    /// Writes down what decides a stage, or says what of it is other than when the stage was begun.
    pub(super) fn note_settings(&self, name: &str, settings: &Value) -> Result<()> {
        let folder = self.folder(name);
        let path = folder.join("settings.json");
        let begun = folder.join("last").exists() || folder.join("key").exists();
        let before: Option<Value> = if begun && path.exists() {
            Some(flava_base::read_json(&path, flava_base::MAX_SETTINGS)?)
        } else {
            None
        };
        if let Some(before) = before.filter(|before| before != settings) {
            let mut different = Vec::new();
            differences("", &before, settings, &mut different);
            let (folder, different) = (folder.display(), different.join("; "));
            return Err(Error::Input(format!(
                "{folder}: was made by other settings ({different})\nhint: choose another --out, or remove it"
            )));
        }
        fs::create_dir_all(&folder).map_err(|e| flava_model::Error::io(&folder, e))?;
        Ok(flava_base::write_atomic(
            &path,
            format!("{settings:#}\n").as_bytes(),
        )?)
    }

    /// The keys of the stages of some kinds.
    pub(super) fn of_kinds(&self, kinds: &[&str]) -> Vec<&String> {
        let stages = self
            .job
            .recipe
            .stages()
            .filter(|(_, stage)| kinds.contains(&stage.kind()));
        stages
            .filter_map(|(name, _)| self.made.keys.get(name))
            .collect()
    }
}

/// A stage without what only decides what is kept of what it makes.
fn deciding(stage: &Stage) -> Value {
    let mut stage = json!(stage);
    for table in ["", "/schedule"] {
        let table = stage.pointer_mut(table).and_then(Value::as_object_mut);
        if let Some(table) = table {
            table.retain(|key, _| !KEPT_ONLY.contains(&key.as_str()));
        }
    }
    stage
}

/// What is other now than it was, with its path.
fn differences(path: &str, before: &Value, now: &Value, found: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
            for name in names {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let of = |table: &serde_json::Map<String, Value>| {
                    table.get(name).cloned().unwrap_or_default()
                };
                differences(&below, &of(before), &of(now), found);
            }
        }
        _ if before != now => found.push(format!("{path} was {before}, is {now}")),
        _ => {}
    }
}

/// Whether a stage that is not trained step by step is done; an error where it was done otherwise.
pub(super) fn is_done(folder: &Path, key: &str) -> Result<bool> {
    let path = folder.join("key");
    match fs::read_to_string(&path) {
        Ok(before) if before.trim() == key => Ok(true),
        Ok(_) => {
            let reason = "was made by other settings or from other corpora\nhint: choose another --out, or remove it";
            Err(Error::Input(format!("{}: {reason}", folder.display())))
        }
        Err(_) => Ok(false),
    }
}
