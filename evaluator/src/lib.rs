//! Runs tasks on a checkpoint: from arguments to a plan, from rows to features, through a protocol
//! to records.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may panic"))]

mod answers;
pub mod args;
mod bundle;
mod cache;
mod compare;
pub mod console;
mod data;
mod embed;
mod embedded;
mod error;
mod features;
mod fetch;
mod finetune;
mod given;
mod leaderboard;
mod locator;
mod methods;
mod plan;
pub mod publish;
mod report;
mod run;
mod score;
mod verify;

pub use answers::{AnsweredRows, OwnRun, predict, probe, retrieve, zero_shot};
pub use cache::cache;
pub use compare::{Comparison, compare};
pub use embed::{EmbeddedRows, embed};
pub use error::{Error, Result};
pub use fetch::{Fetched, fetch};
pub use finetune::{Trainings, card_beside, merge, recipe_of, recipe_text, submit};
pub use given::{GivenFolder, GivenSource};
pub use leaderboard::leaderboard;
pub use locator::DataLocator;
pub use methods::ranks;
pub use plan::{Limit, Loaded, ModelChoice, Plan, Settings, Subject, TaskRun, Tuning, TuningRun};
pub use report::{report, report_beside};
pub use run::{Outcome, dry_run, run, run_together};
pub use score::score;
pub use verify::{Verified, verify};

/// An error once Ctrl-C was pressed.
pub(crate) fn check_interrupted() -> Result<()> {
    if flava_base::interrupted() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}

/// The program and its version, as records tell it.
pub(crate) fn program() -> String {
    format!("flava {}", env!("CARGO_PKG_VERSION"))
}
