//! When states are evaluated, and how.

use super::candidate::Candidate;
use crate::{Learner, Log};

/// Evaluates a candidate: its score, where higher is better, or none where it has none.
pub type Evaluate<'a, L> =
    dyn Fn(&mut L, &Candidate, &mut Log) -> Result<Option<f64>, <L as Learner>::Error> + 'a;

/// When states are evaluated, and how.
pub struct Evaluation<'a, L: Learner> {
    /// Steps between evaluations; the last step is evaluated too.
    pub every: usize,
    /// Evaluations without a better score after which training stops; 0 never stops early.
    pub patience: usize,
    /// What the score is of: scores of something else are not compared with.
    pub best_by: &'a str,
    /// How.
    pub evaluate: &'a Evaluate<'a, L>,
}
