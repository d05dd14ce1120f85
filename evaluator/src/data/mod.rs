//! The data of a task, opened and compared with what its protocol asks for.

mod check;
mod opened;
mod prompts;

pub(crate) use opened::{OpenTask, fingerprint, open};
pub(crate) use prompts::{ChosenPrompts, prompts};
