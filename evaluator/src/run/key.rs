//! What decides a task's numbers.

use std::collections::HashMap;

use flava_base::hex;
use flava_tasks::{Method, Recipe};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::task::{Measurement, Tasks};
use crate::{
    Result,
    data::ChosenPrompts,
    features::{Rows, numerics},
    finetune::{FinetunedModel, head_digest, is_tuned},
    program,
};

/// What a fine-tuned task's numbers depend on besides.
#[derive(Default)]
struct TuningKey {
    recipe: Option<Recipe>,
    /// Of the head, where the checkpoint is fine-tuned already.
    head: Option<String>,
}

impl Tasks<'_> {
    /// A digest of everything that decides a task's numbers.
    pub(super) fn key(&self, run: &Measurement, prompts: Option<&ChosenPrompts>) -> Result<String> {
        let plan = self.plan;
        let Measurement {
            task_run,
            splits,
            provenance,
            ..
        } = run;
        let (task, assignment) = (&task_run.task, &task_run.assignment);
        let is_cuda = plan.settings.load.device.is_cuda();
        let tuning = self.tuning_key(run)?;
        let rows: Vec<&String> = splits.all().map(|rows| &rows.fingerprint).collect();
        let groups: Vec<String> = splits.all().map(groups).collect();
        let prompts = prompts.map(|chosen| format!("{} {}", chosen.origin, chosen.digest()));
        let all = json!({
            "task": task.name,
            "version": task.version,
            "variant": task_run.variant,
            "method": value(&assignment.method),
            "metrics": value(&assignment.metrics),
            "protocol": assignment.protocol.name(),
            "model": provenance.identity,
            "tokenizer": provenance.tokenizer,
            "rows": rows,
            "prompts": prompts,
            "seed": plan.seed,
            "precision": provenance.precision,
            "device": if is_cuda { "cuda" } else { "cpu" },
            "stored_f16": plan.settings.store_f16,
            "transform": provenance.transform,
            "skip_broken": plan.settings.skip_broken,
            "program": program(),
            "batch_size": format!("{:?}", plan.settings.batch_size),
            "allow_mismatch": plan.allow_mismatch,
            "recipe": tuning.recipe,
            "random_init": plan.tuning.random_init,
            "micro_batch": plan.tuning.micro_batch,
            "head": tuning.head,
            "classes": task.classes,
            "class_names": task.class_names,
            "groups": groups,
            "numerics": numerics(),
        });
        Ok(hex(&Sha256::digest(all.to_string())[..16]))
    }

    fn tuning_key(&self, run: &Measurement) -> Result<TuningKey> {
        let (tuning, task_run) = (&self.plan.tuning, run.task_run);
        if !matches!(task_run.assignment.method, Method::FineTune { .. }) {
            return Ok(TuningKey::default());
        }
        let folder = &run.source.encoders()?.loaded.folder;
        if is_tuned(folder) && !tuning.always {
            return Ok(TuningKey {
                recipe: Some(FinetunedModel::read(folder)?.recipe),
                head: Some(head_digest(folder)?),
            });
        }
        let (recipe, _) = Recipe::of(&task_run.task, tuning.recipe.as_deref(), &tuning.set)?;
        Ok(TuningKey {
            recipe: Some(recipe),
            head: None,
        })
    }
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Which rows share an image, and which are told apart by their kind: intervals, held-out rows and
/// slices go by both.
fn groups(rows: &Rows) -> String {
    let mut digest = Sha256::new();
    let mut first = HashMap::new();
    for &row in rows.indices() {
        let next = first.len();
        let cluster = *first.entry(rows.dataset().cluster(row)).or_insert(next);
        digest.update(format!("{cluster} {:?}\n", rows.dataset().slice(row)));
    }
    hex(&digest.finalize()[..8])
}
