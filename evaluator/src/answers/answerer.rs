//! Who answers: a fine-tuned network, prompts, or a probe.

use flava_model::runtime::Progress;
use flava_tasks::{Tower, predictions::Meaning};
use tch::Tensor;

use crate::{
    Result,
    features::{Rows, rows_kind},
};

/// Whoever answers for rows.
pub(crate) trait Answerer {
    /// What its numbers mean.
    fn meaning(&self) -> Meaning;

    /// What it reads of a row.
    fn reads(&self) -> Tower;

    /// What answering for a row is called among kinds of work.
    fn kind(&self) -> String {
        rows_kind(self.reads())
    }

    /// The places of the rows that are not broken, in order, and of each its probabilities \[rows,
    /// names\] or value \[rows, 1\].
    ///
    /// # Errors
    /// If a row is broken, unless such rows are to be left out.
    fn numbers(&mut self, rows: &Rows, progress: &Progress) -> Result<(Vec<usize>, Tensor)>;
}
