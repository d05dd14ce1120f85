//! What was predicted for the rows of a split, and what is right: all that a score is computed
//! from.

mod answers;
mod file;
mod foreign;
mod logits;
mod outputs;
mod roles;
mod table;
mod truth;

pub use answers::{AnswerFile, Meaning, Writing};
pub use foreign::Foreign;
pub use logits::Logits;
pub use outputs::{Outputs, Predictions, Ranked, shared};
