//! Updates and their sizes.

use flava_base::LrDecay;
use flava_training::{AdamWConfig, LrSchedule, TrainerConfig};
use serde::{Deserialize, Serialize};

/// Updates and how they are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSchedule {
    /// Updates.
    pub steps: usize,
    /// Rows of one update.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Updates over which it rises.
    pub warmup: usize,
    /// What follows.
    #[serde(default = "cosine")]
    pub decay: LrDecay,
    /// What it ends at.
    #[serde(default)]
    pub final_rate: f64,
    /// Weight decay, as a share of the rate.
    pub weight_decay: f64,
    /// Whether biases, norms and tokens decay too.
    #[serde(default)]
    pub decay_all: bool,
    /// Adam's averages.
    #[serde(default = "betas")]
    pub betas: [f64; 2],
    /// Adam's epsilon.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Maximum gradient norm; 0 for none.
    #[serde(default)]
    pub clip_norm: f64,
    /// Decay of a moving average of the weights, which is then the result; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ema: f64,
    /// Updates between two saved states; the last one is kept.
    #[serde(default = "thousand")]
    pub save_every: usize,
    /// Saved states that are kept by number beside the last one.
    #[serde(default)]
    pub keep: usize,
    /// Share of a corpus's rows that may be broken before training stops.
    #[serde(default = "hundredth")]
    pub max_broken: f64,
}

/// Keys that decide something only where they are set do not change the digests of recipes that
/// are older than they are.
pub(super) fn is_zero<T: PartialEq + Default>(value: &T) -> bool {
    *value == T::default()
}

impl TrainingSchedule {
    /// How the trainer makes the steps.
    pub fn config(&self) -> TrainerConfig {
        TrainerConfig {
            lr_schedule: LrSchedule {
                peak: self.learning_rate,
                last: self.final_rate,
                warmup: self.warmup,
                steps: self.steps,
                decay: self.decay,
            },
            adamw: AdamWConfig {
                betas: self.betas,
                eps: self.eps,
                weight_decay: self.weight_decay,
                decay_all: self.decay_all,
            },
            clip_norm: self.clip_norm,
            ema: self.ema,
            save_every: self.save_every,
            keep: self.keep,
            max_broken: self.max_broken,
        }
    }
}

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn eps() -> f64 {
    1e-8
}

fn thousand() -> usize {
    1000
}

pub(super) fn hundredth() -> f64 {
    0.01
}

fn cosine() -> LrDecay {
    LrDecay::Cosine
}

/// Of a stage that makes no updates.
pub(super) fn no_schedule() -> TrainingSchedule {
    TrainingSchedule {
        steps: 0,
        batch_size: 1,
        learning_rate: 0.0,
        warmup: 0,
        decay: LrDecay::Cosine,
        final_rate: 0.0,
        weight_decay: 0.0,
        decay_all: false,
        betas: betas(),
        eps: eps(),
        clip_norm: 0.0,
        ema: 0.0,
        save_every: thousand(),
        keep: 0,
        max_broken: hundredth(),
    }
}
