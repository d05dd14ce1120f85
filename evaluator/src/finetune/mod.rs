//! Fine-tuning: an encoder and a head on its CLS state, trained on a task by its recipe. One engine
//! for texts, images and both.

mod batches;
mod card;
mod depth;
mod learner;
mod lora;
mod network;
mod output;
mod predict;
mod saved;
mod submission;
mod targets;
mod trainings;

use std::path::{Path, PathBuf};

use flava_results::MetricValue;
use flava_tasks::{Recipe, Suite, Task, select};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, args::MergeArgs, plan::registry_of};

pub use card::card_beside;
pub(crate) use learner::FineTuning;
pub(crate) use lora::{LoraBase, is_lora};
pub(crate) use network::{Network, NetworkStart};
pub(crate) use output::Output;
pub(crate) use predict::{Asked, answers_kind, ceiling, outputs_of_unbroken, predictions};
pub(crate) use saved::{FinetunedModel, has_training, head_digest, is_tuned};
pub use submission::submit;
pub(crate) use submission::tuned_folder;
pub use trainings::Trainings;

/// Writes a model with a LoRA as one that stands alone.
///
/// # Errors
/// If the folder holds none, its weights are not there or others, or there is something at the
/// place already.
pub fn merge(args: &MergeArgs) -> Result<()> {
    let folder = tuned_folder(&args.model)?;
    let out = &args.out;
    if out.exists() {
        return Err(Error::Argument {
            argument: "--out",
            value: out.display().to_string(),
            reason: "is there already".into(),
        });
    }
    FinetunedModel::read_whole(&folder)?.merge(&folder, args.base.as_deref(), out)
}

/// The recipe of a task, by its name, as a file to start one from.
pub fn recipe_of(task: &str, task_files: &[PathBuf]) -> Result<String> {
    let registry = registry_of(task_files)?;
    let tasks = select(&registry, task, Suite::Paper)?;
    let [task] = tasks[..] else {
        return Err(Error::Usage {
            argument: "TASK",
            reason: format!("{task} names {} tasks", tasks.len()),
        });
    };
    recipe_text(task, None, &[])
}

/// A task's recipe, or that of a file, with settings over it.
pub fn recipe_text(task: &Task, file: Option<&Path>, settings: &[String]) -> Result<String> {
    let (recipe, name) = Recipe::of(task, file, settings)?;
    let text = toml::to_string(&recipe)?;
    Ok(format!(
        "# recipe {name}, for {}\n{}",
        task.name,
        text.trim_end()
    ))
}

/// A score that was reached on the rows that checkpoints are chosen on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ValidationScore {
    /// Updates until then.
    pub(crate) step: usize,
    pub(crate) score: MetricValue,
}
