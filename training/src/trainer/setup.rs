//! What a training is given, and what comes of it.

use std::path::{Path, PathBuf};

use flava_model::runtime::{Precision, Progress, distributed::Group};
use tch::Device;

use super::evaluation::Evaluation;
use crate::{AdamWConfig, Learner, LrSchedule, Sharding, TrainingState};

/// How steps are made, whatever is trained.
#[derive(Clone, Debug)]
pub struct TrainerConfig {
    /// Learning rates, and how many steps there are.
    pub lr_schedule: LrSchedule,
    /// The optimiser.
    pub adamw: AdamWConfig,
    /// Norm that gradients are clipped to; 0 for none.
    pub clip_norm: f64,
    /// Decay of a moving average of the weights, which is then what is evaluated and kept; 0 for
    /// none.
    pub ema: f64,
    /// Steps between states that are saved; 0 where evaluations and the clock alone save.
    pub save_every: usize,
    /// Numbered states that are kept.
    pub keep: usize,
    /// Share of the rows that may be broken.
    pub max_broken: f64,
}

/// What is trained how, and where it goes.
pub struct Trainer<'a, L: Learner> {
    /// What is trained, for people.
    pub name: &'a str,
    /// Where its states and log go.
    pub folder: &'a Path,
    /// How.
    pub config: TrainerConfig,
    /// Random seed.
    pub seed: u64,
    /// Digest of all that decides the training: it goes on under the same alone.
    pub key: &'a str,
    /// Compute precision.
    pub precision: Precision,
    /// Rows that go through the model at once in each process; 0 for all, and fewer where memory is short.
    pub micro_batch: usize,
    /// All processes of the training.
    pub group: &'a Group,
    /// What of it each of them has only a part of; where that is not said, as little as fits.
    pub sharding: Option<Sharding>,
    /// Where lines for people go.
    pub progress: &'a Progress,
    /// When states are evaluated.
    pub evaluation: Option<Evaluation<'a, L>>,
    /// Where the model is.
    pub device: Device,
    /// Floating-point operations a second that a large product reaches here; 0 if not known.
    pub peak_flops: f64,
}

/// What came of a training.
#[derive(Debug)]
pub struct Trained {
    /// The last state.
    pub state: TrainingState,
    /// The folder of the result: the best state where one was chosen, else the last.
    pub folder: PathBuf,
}
