//! What a training knows of a batch: the rows that a process has of it, and the whole.

use crate::BrokenRows;

/// The rows of a batch that this process reads.
#[derive(Clone, Debug, Default)]
pub struct BatchRows {
    /// Ids of those that are trained on.
    pub ids: Vec<String>,
    /// Their places among the rows of the whole batch, rising.
    pub places: Vec<usize>,
    /// Those that were left out.
    pub broken: BrokenRows,
}

impl BatchRows {
    /// Rows of which none is broken, from a place of the whole batch on.
    pub fn whole(ids: Vec<String>, first: usize) -> Self {
        Self {
            places: (first..first + ids.len()).collect(),
            ids,
            broken: BrokenRows::default(),
        }
    }
}

/// The batch of a step in all processes together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WholeBatch {
    /// Rows that are trained on.
    pub rows: Vec<usize>,
    /// Rows that were left out.
    pub broken: usize,
    /// The sums of what the learner counts in each process's rows.
    pub counts: Vec<f64>,
}

impl WholeBatch {
    /// Rows that are trained on in all processes.
    pub fn len(&self) -> usize {
        self.rows.iter().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that were drawn.
    pub(crate) fn drawn(&self) -> usize {
        self.len() + self.broken
    }
}
