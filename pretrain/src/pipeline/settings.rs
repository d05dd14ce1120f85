//! What decides a stage: its key, and what of it is other than when the stage was begun.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use flava_base::{LrDecay, hex};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{job::corpora_of, run::Run};
use crate::{
    Error, Result,
    recipe::{Init, Stage},
};

/// The file in a stage's folder.
const SETTINGS: &str = "settings.json";
/// Its key for the steps of a stage that was prolonged.
const PROLONGED: &str = "prolonged_to";
/// Where the steps stand in what decides a stage.
const STEPS: &str = "/stage/schedule/steps";
/// Keys of stages and schedules that only decide what is kept of what is made.
const KEPT_ONLY: [&str; 4] = ["save_every", "keep", "max_broken", "evaluate"];

/// What a stage was begun by, which its states are of.
pub(super) struct Begun {
    settings: Value,
    /// Steps that it has now, where it had fewer.
    prolonged_to: Option<u64>,
}

impl Begun {
    fn new(settings: Value) -> Self {
        Self {
            settings,
            prolonged_to: None,
        }
    }

    /// The digest that its states have.
    pub(super) fn key(&self) -> String {
        hex(&Sha256::digest(self.settings.to_string())[..12])
    }

    /// The digest of what is made of it, for stages that build on it.
    pub(super) fn key_of_result(&self) -> String {
        match self.prolonged_to {
            None => self.key(),
            Some(steps) => {
                let longer = format!("{} prolonged to {steps}", self.key());
                hex(&Sha256::digest(longer)[..12])
            }
        }
    }
}

/// Why more steps would not be those of a stage that had them from the start, if so.
fn not_prolonged(name: &str, stage: &Stage) -> Option<String> {
    let schedule = match stage {
        Stage::Train(stage) => &stage.schedule,
        Stage::Codebook(stage) => &stage.schedule,
        Stage::Dino(_) => {
            return Some(
                "the teacher's momentum rises over all steps, so that none can be added".into(),
            );
        }
        Stage::Tokenizer(_) => return Some("it has no steps".into()),
    };
    let decay = match schedule.decay {
        LrDecay::Constant => return None,
        LrDecay::Linear => "linear",
        LrDecay::Cosine => "cosine",
    };
    Some(format!(
        "the rates of the steps that were made depend on their number, as {name}.schedule.decay is {decay}; only after constant can steps be added"
    ))
}

fn differs_in_steps_alone(before: &Value, now: &Value) -> bool {
    let mut now = now.clone();
    match (now.pointer_mut(STEPS), before.pointer(STEPS)) {
        (Some(steps), Some(before)) => *steps = before.clone(),
        _ => return false,
    }
    *before == now
}

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

    /// What decides a stage as it was begun, if it was: it may be prolonged since.
    ///
    /// # Errors
    /// What of it is other than when the stage was begun, and why it cannot be prolonged if that is
    /// its steps alone.
    pub(super) fn begun(&self, name: &str, stage: &Stage, settings: Value) -> Result<Begun> {
        let folder = self.folder(name);
        let path = folder.join(SETTINGS);
        let is_begun = folder.join("last").exists() || folder.join("key").exists();
        if !is_begun || !path.exists() {
            return Ok(Begun::new(settings));
        }
        let mut before: Value = flava_base::read_json(&path, flava_base::MAX_SETTINGS)?;
        let longer = before.as_object_mut().and_then(|all| all.remove(PROLONGED));
        let refused = |reason: String| {
            let folder = folder.display();
            Err(Error::Input(format!(
                "{folder}: was made by other settings ({reason})\nhint: choose another --out, or remove it"
            )))
        };
        let now = stage.steps() as u64;
        let was = longer.and_then(|steps| steps.as_u64());
        if before == settings {
            return match was {
                Some(was) if was != now => refused(format!("it was prolonged to {was} steps")),
                _ => Ok(Begun::new(settings)),
            };
        }
        let mut different = Vec::new();
        differences("", &before, &settings, &mut different);
        let first = before.pointer(STEPS).and_then(Value::as_u64).unwrap_or(0);
        if !differs_in_steps_alone(&before, &settings) {
            return refused(different.join("; "));
        }
        let was = was.unwrap_or(first);
        if now < was {
            return refused(if was == first {
                different.join("; ")
            } else {
                format!("it has {was} steps, and {now} are asked for")
            });
        }
        if let Some(reason) = not_prolonged(name, stage) {
            return refused(format!("{}: {reason}", different.join("; ")));
        }
        Ok(Begun {
            settings: before,
            prolonged_to: Some(now),
        })
    }

    /// Writes down what decides a stage.
    pub(super) fn note_settings(&self, name: &str, begun: &Begun) -> Result<()> {
        let folder = self.folder(name);
        fs::create_dir_all(&folder).map_err(|e| flava_model::Error::io(&folder, e))?;
        let mut settings = begun.settings.clone();
        if let (Some(all), Some(steps)) = (settings.as_object_mut(), begun.prolonged_to) {
            all.insert(PROLONGED.into(), steps.into());
        }
        Ok(flava_base::write_atomic(
            &folder.join(SETTINGS),
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
