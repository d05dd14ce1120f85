//! What training needs and tch lacks: `AdamW` whose state can be saved, autocast, recomputed
//! layers, schedules, logs.

mod adamw;
mod autocast;
mod events;
mod log;
mod recompute;
mod scaler;
mod schedule;

pub use adamw::{AdamW, Group};
pub use autocast::Autocast;
pub use events::EventWriter;
pub use log::{Log, peak_memory};
pub use recompute::recomputed;
pub use scaler::LossScaler;
pub use schedule::{Decay, Schedule};
