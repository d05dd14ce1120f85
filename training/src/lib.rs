//! Training, the same for fine-tuning and every stage of pretraining.
//!
//! A [`Learner`] knows its model, its data and its losses; the [`Trainer`] makes the steps: batches
//! made ahead, gradients, an update, a line of the log; states that are saved whole and gone on
//! from, bit for bit on the CPU.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may panic"))]

mod adamw;
mod batch;
mod checkpointing;
mod coordination;
mod ema;
mod error;
mod events;
mod learner;
mod log;
mod loss_scaler;
mod lr_schedule;
mod metrics;
mod parallel;
mod parameter;
mod peak;
mod trainer;
mod training_state;
mod update;

pub use adamw::{AdamW, AdamWConfig, ParameterGroup};
pub use batch::{BatchRows, WholeBatch};
pub use checkpointing::last_state;
pub use ema::Ema;
pub use error::{Error, LearnerError, Result};
pub use learner::{Batches, EarlySums, Learner, Part, Step};
pub use log::Log;
pub use loss_scaler::LossScaler;
pub use lr_schedule::LrSchedule;
pub use metrics::{Accuracy, BrokenRows, StepMetrics};
pub use parallel::{BlockExchanges, Reduction, Schedule, Sharding};
pub use parameter::{Parameter, ParameterSet, is_decayed};
pub use peak::peak_flops;
pub use trainer::{Candidate, Evaluate, Evaluation, Trained, Trainer, TrainerConfig};
pub use training_state::TrainingState;
pub use update::Update;
