//! Runs tasks on a checkpoint: from arguments to a plan, from rows to features, through a protocol to records.

pub mod args;
mod bundle;
mod data;
mod embed;
mod embedded;
mod error;
mod features;
mod fetch;
mod methods;
mod places;
mod plan;
mod run;
mod verify;

pub use embed::embed;
pub use error::{Error, Result};
pub use fetch::{Fetched, fetch};
pub use places::Places;
pub use plan::{Loaded, ModelChoice, Plan, Settings};
pub use run::{Outcome, dry_run, run};
pub use verify::{Verified, verify};
