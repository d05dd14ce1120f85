//! Runs tasks on a checkpoint: from arguments to a plan, from rows to features, through a protocol to records.

pub mod args;
mod embed;
mod embedded;
mod error;
mod features;
mod plan;
mod protocols;
mod run;

pub use embed::embed;
pub use error::{Error, Result};
pub use plan::{ModelChoice, Plan, Settings};
pub use run::{Outcome, dry_run, run};
