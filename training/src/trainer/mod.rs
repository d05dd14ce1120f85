//! The trainer: how steps are made, and the loop over them.

mod agreement;
mod candidate;
mod choice;
mod evaluation;
mod run;
mod saving;
mod setup;
mod step;

pub use candidate::Candidate;
pub use evaluation::{Evaluate, Evaluation};
pub use setup::{Trained, Trainer, TrainerConfig};
