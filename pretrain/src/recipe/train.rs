//! What a stage that trains by FLAVA's losses is told.

use std::path::PathBuf;

use flava_tasks::{Registry, Suite, select};
use serde::{Deserialize, Serialize};

use super::{
    losses::{LossWeights, RowKind},
    schedule::{TrainingSchedule, is_zero},
};
use crate::{augment::Crop, joint::WordMasks};

/// Training by FLAVA's losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainStage {
    /// Updates.
    pub schedule: TrainingSchedule,
    /// What each batch is drawn from.
    pub mixture: Vec<Share>,
    /// What is taken over from earlier stages or checkpoints.
    #[serde(default)]
    pub init: Vec<Init>,
    /// What each loss counts.
    #[serde(default)]
    pub weights: LossWeights,
    /// Share of the batch among which a contrastive query finds its partner: 1 is the paper's
    /// global loss.
    #[serde(default = "whole")]
    pub contrastive_share: f64,
    /// How often a pair's caption is exchanged for another one.
    #[serde(default)]
    pub negatives: f64,
    /// Parts of images; without it they are taken whole, and visual tokens are computed once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Hidden words of texts alone.
    #[serde(default = "plain")]
    pub text_masks: WordMasks,
    /// Hidden words of captions.
    #[serde(default = "whole_words")]
    pub caption_masks: WordMasks,
    /// Longest text alone, in tokens.
    pub text_length: usize,
    /// Longest caption, in tokens.
    pub caption_length: usize,
    /// Dropout of states and attention.
    #[serde(default)]
    pub dropout: f64,
    /// What the model is measured on while it is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<Evaluate>,
}

fn whole() -> f64 {
    1.0
}

fn plain() -> WordMasks {
    WordMasks {
        rate: 0.15,
        whole_words: false,
    }
}

fn whole_words() -> WordMasks {
    WordMasks {
        rate: 0.15,
        whole_words: true,
    }
}

/// A corpus of a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which.
    pub corpus: String,
    /// How often it is drawn, relative to the others.
    pub ratio: f64,
    /// What its rows are read as.
    pub rows: RowKind,
    /// Rows of one update, where they are not the schedule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
}

/// What is taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    /// An earlier stage, a folder, or a repository.
    pub from: String,
    /// Which parts of it.
    pub parts: Vec<Part>,
}

/// A part of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The image encoder.
    Image,
    /// The text encoder.
    Text,
    /// The head of masked image modelling.
    MimHead,
    /// The head of masked language modelling.
    MlmHead,
    /// Everything.
    All,
}

impl Part {
    /// How the names of its tensors begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Image => "flava.image_model.",
            Self::Text => "flava.text_model.",
            Self::MimHead => "mim_head.",
            Self::MlmHead => "mlm_head.",
            Self::All => "",
        }
    }
}

/// What a model is measured on while it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// Updates between two measurements.
    pub every: usize,
    /// Tasks of `flava-eval`, with commas between them.
    pub tasks: String,
    /// The task, one of them, by whose main metric the best state is chosen.
    pub best_by: String,
    /// Measurements without a better score after which training stops; 0 never stops early.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub patience: usize,
    /// Folder of the tasks' data, below that of the corpora; the Hub without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

impl Evaluate {
    /// The name of the task that the best state is chosen by, or what is wrong with it or with the
    /// tasks.
    pub fn task_of_best(&self) -> std::result::Result<String, String> {
        let registry = Registry::built_in().map_err(|e| e.to_string())?;
        let named = |list: &str| -> std::result::Result<Vec<String>, String> {
            let tasks = select(&registry, list, Suite::Paper).map_err(|e| e.to_string())?;
            Ok(tasks.into_iter().map(|task| task.name.clone()).collect())
        };
        let (tasks, best) = (named(&self.tasks)?, named(&self.best_by)?);
        match best.as_slice() {
            [task] if tasks.contains(task) => Ok(task.clone()),
            [task] => Err(format!(
                "best_by is {task}, which tasks ({}) do not name",
                tasks.join(", ")
            )),
            _ => Err(format!(
                "best_by = {:?} names {} tasks: the best state is chosen by one",
                self.best_by,
                best.len()
            )),
        }
    }
}
