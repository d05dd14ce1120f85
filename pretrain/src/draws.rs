//! Batches of a corpus: which rows a step reads, and what becomes of those that are broken.

use std::sync::Arc;

use flava_tasks::Dataset;

use crate::{
    Error, Result,
    order::{Order, Rank},
};

/// A corpus that batches are drawn from.
pub struct Draws {
    /// Its name in the recipe.
    pub name: String,
    /// Its rows.
    pub dataset: Arc<dyn Dataset>,
    /// Their order.
    pub order: Order,
    /// Which of the draws are this process's.
    pub rank: Rank,
    /// Rows of a batch.
    pub batch_size: usize,
}

/// What became of a batch's draws.
#[derive(Debug)]
pub struct Drawn<T> {
    /// Ids of the rows that are whole.
    pub ids: Vec<String>,
    /// What was made of them.
    pub rows: Vec<T>,
    /// How many rows were left out because they are broken, and why the first was.
    pub broken: (usize, String),
}

impl Draws {
    /// The `nth` batch; `make` makes something of a row and a draw's number, or says why it is broken.
    pub fn batch<T>(&self, nth: u64, make: impl Fn(usize, u64) -> std::result::Result<T, String>) -> Result<Drawn<T>> {
        let size = self.batch_size;
        let mut drawn = Drawn { ids: Vec::with_capacity(size), rows: Vec::with_capacity(size), broken: (0, String::new()) };
        for place in 0..size as u64 {
            let draw = self.rank.draw(nth * size as u64 + place, size);
            let row = self.order.row(draw);
            match make(row, draw) {
                Ok(made) => {
                    drawn.ids.push(self.dataset.id(row));
                    drawn.rows.push(made);
                }
                Err(reason) => {
                    if drawn.broken.0 == 0 {
                        drawn.broken.1 = format!("{} of {}: {reason}", self.dataset.id(row), self.name);
                    }
                    drawn.broken.0 += 1;
                }
            }
        }
        if drawn.rows.is_empty() {
            return Err(Error::Training(format!("every row of a batch is broken; the first is {}", drawn.broken.1)));
        }
        Ok(drawn)
    }
}
